#ifndef KG_CURVE_H
#define KG_CURVE_H
/*
 * Keys for plugins on other machines. DATA/bus/server.key is the kernel's own; DATA/bus/clients/NAME.pub says who may
 * come; NAME.key beside it is what NAME takes along to its machine. Files are 0600 in a directory of 0700.
 */
#include "kernel.h"

/* Manager: the socket accepts only known clients from now on. */
int kg_curve_server(kg_kernel_t *k, void *socket, kg_error_t *err);
/* The key of a client, from the file that kg_bus_key() made. */
int kg_curve_client(void *socket, const char *key_file, kg_error_t *err);

#endif
