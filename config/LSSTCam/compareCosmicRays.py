# LSSTCam: pixels of 10 um, about 1.6 electrons per adu.
config.reading.gain = 1.6
config.reading.pixelSize = 0.010
