# Hyper Suprime-Cam: CCDs of 200 um, pixels of 15 um, about
# 3 electrons per adu.
# There are no dark exposures of it here, so tracks are simulated.
config.reading.gain = 3.0
config.reading.pixelSize = 0.015
config.footprintSource = "simulated"
config.sensorThickness = 200.0
# As simulated visits have it.
config.chargeDiffusion = 7.0
