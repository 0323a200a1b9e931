// RedoxFS
