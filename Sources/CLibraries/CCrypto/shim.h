// The viewers' protocol has its password check by DES, which libcrypto marks as deprecated.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/des.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
