#ifndef KG_FRAME_H
#define KG_FRAME_H
/*
 * A frame on the command line's socket: length of the rest (4 bytes, little-endian), then a msgpack array
 *   [type, id, service, topic, code, text, args, [document...], stream, timeout_ms]
 * with the types of the bus. From the command line come requests, cancels and items; to it go replies, errors, items,
 * ends.
 */
#include "kogge/msg.h"
#include "kogge/pack.h"

#define KG_FRAME_MAX (80u << 20)

typedef struct kg_frame {
  int type, code;
  uint64_t id;
  kg_str_t service, topic, text;
  kg_view_t args, docs;
  bool stream;
  int64_t timeout_ms;
} kg_frame_t;
/* Packs one frame with its length in front; caller frees *out. */
int kg_frame_pack(int type, uint64_t id, const char *service, const char *topic, int code, const char *text,
                  kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs, bool stream, int64_t timeout_ms, uint8_t **out,
                  size_t *size);
/* Reads a frame without its length; everything in *out is borrowed from data. -1: malformed. */
int kg_frame_read(const void *data, size_t size, kg_frame_t *out);

#endif
