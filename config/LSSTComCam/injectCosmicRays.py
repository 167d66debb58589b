# LSST ComCam: CCDs of 100 um, pixels of 10 um, about
# 1.1 electrons per adu.
# There are no dark exposures of it here, so tracks are simulated.
config.reading.gain = 1.1
config.reading.pixelSize = 0.010
config.footprintSource = "simulated"
config.sensorThickness = 100.0
# As for LSSTCam.
config.chargeDiffusion = 4.5
