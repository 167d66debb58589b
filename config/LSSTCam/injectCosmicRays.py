# LSSTCam: CCDs of 100 um, pixels of 10 um, about
# 1.6 electrons per adu.
# There are no dark exposures of it here, so tracks are simulated.
config.reading.gain = 1.6
config.reading.pixelSize = 0.010
config.footprintSource = "simulated"
config.sensorThickness = 100.0
# As simulated visits have it.
config.chargeDiffusion = 4.5
