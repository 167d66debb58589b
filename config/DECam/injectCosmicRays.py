# Dark Energy Camera: CCDs of 250 um, pixels of 15 um, about
# 4 electrons per adu.
# There are no dark exposures of it here, so tracks are simulated.
config.reading.gain = 4.0
config.reading.pixelSize = 0.015
config.footprintSource = "simulated"
config.sensorThickness = 250.0
# That of LBNL devices as thick, in the design of DECam.
config.chargeDiffusion = 8.0
