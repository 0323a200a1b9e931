// The low-level interface of libfuse 3.14, and the kernel's own wire types for what that version doesn't know
// (O_TMPFILE, syncfs, the flags of HANDLE_KILLPRIV_V2).
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <linux/fuse.h>
