// As CLinux does: types that both modules see must have one definition.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <openssl/evp.h>
#include <openssl/err.h>
