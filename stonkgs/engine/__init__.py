"""Who carries splits to the Predictor: Lightning in one process, and several processes over one folder."""
