#ifndef TEST_ASK_H
#define TEST_ASK_H
/* A client and a pretended resolver, both written with ldns. */
#include "world.h"

typedef enum { OVER_UDP, OVER_TCP, WITH_EDNS, PATIENTLY } how_t;

/* The answer as "NOERROR web.default... A 10.43.1.1; ...", records sorted, those of the additional section behind "+";
 * "-": none within a second (PATIENTLY: 6). Static buffer. */
const char *dig(const char *netns, const char *server, const char *name, const char *type, how_t how);

/* Answers in namespace netns on port 53: every A question with 198.51.100.1 for 60 s; names that begin with "big" with
 * 100 addresses, over TCP only; "gone..." with NXDOMAIN. Counts what it was asked. */
void resolver_start(const char *netns);
int resolver_count(void);
#endif
