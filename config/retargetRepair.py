# For calibrateImage: repair with a finder of this package.  For instance
# pipetask run -C calibrateImage:$MEAS_COSMICRAYS_DIR/config/retargetRepair.py
#     -c calibrateImage:psf_repair.finder.name=astroscrappy
from lsst.meas.cosmicrays.repair import CosmicRayRepairTask

config.psf_repair.retarget(CosmicRayRepairTask)
