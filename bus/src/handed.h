#ifndef KG_HANDED_H
#define KG_HANDED_H
/*
 * What goes from thread to thread by way of ZeroMQ is ordered by ZeroMQ, which ThreadSanitizer cannot see: these two
 * say so to it, and are nothing in other builds. KG_HANDED comes before the sending, KG_TAKEN after the receiving.
 */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define KG_HANDED(p) __tsan_release((void *)(p))
#define KG_TAKEN(p) __tsan_acquire((void *)(p))
#else
#define KG_HANDED(p) (void)(p)
#define KG_TAKEN(p) (void)(p)
#endif

#endif
