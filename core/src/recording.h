#ifndef KG_RECORDING_H
#define KG_RECORDING_H
/* Messages in a file: PROTOCOL.md rules 16-19. Any thread. */
#include <stdint.h>

#include "kogge/msg.h"
#include "kogge/pack.h"

#define KG_RECORDING_VERSION 1
#define KG_RECORDING_MAX_BYTES (1u << 30)

/* One message as it was delivered. Everything is borrowed: kg_msg_ref() keeps the message. */
typedef struct kg_recorded {
  int64_t time_us; /* since 1970, when its receiver got it */
  const char *to;  /* instance that received it */
  kg_msg_t *m;     /* its deadline is what was left, in milliseconds */
} kg_recorded_t;

typedef struct kg_recording {
  uint64_t messages;
  size_t whole; /* bytes up to the end of the last whole frame */
  size_t cut;   /* bytes after them: the last write was broken off */
} kg_recording_t;

/*
 * Reads the bytes of a whole file, whoever wrote them, and calls `each` for every message in it; a value that is not 0
 * ends the reading without an error. 0, also for a file that is cut off at its end (see out->cut), or -1 and a sentence
 * that says at which byte it is no recording; messages before that place have been told. `each` and `out` may be NULL.
 */
int kg_recording_read(const void *data, size_t size, int (*each)(void *arg, const kg_recorded_t *r), void *arg,
                      kg_recording_t *out, kg_error_t *err);

/* The frame a file begins with, and the frame of one message, to be written with one write(). Caller frees *out. -1:
 * the message is too large or malformed, or out of memory. */
int kg_recording_begin(int64_t now_us, uint8_t **out, size_t *size);
/* `envelope`: the array of rule 2. `args`: a map or absent. `docs`: an array of the documents' bytes, or absent. */
int kg_recording_message(int64_t time_us, kg_str_t to, kg_view_t envelope, kg_view_t args, kg_view_t docs,
                         uint8_t **out, size_t *size);

#endif
