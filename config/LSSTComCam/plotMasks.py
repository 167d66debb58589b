# LSST ComCam: pixels of 10 um, about 1.1 electrons per adu.
config.reading.gain = 1.1
config.reading.pixelSize = 0.010
