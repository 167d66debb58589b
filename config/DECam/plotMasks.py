# Dark Energy Camera: pixels of 15 um, about 4 electrons per adu.
config.reading.gain = 4.0
config.reading.pixelSize = 0.015
