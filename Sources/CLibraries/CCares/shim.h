#include <ares.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
