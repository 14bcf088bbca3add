#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "handed.h"
#include "head.h"

enum {
  BIN_HEAD = 5,          /* of every message that waits */
  ENOUGH = 64 << 10,     /* bytes that are worth a ZeroMQ message of their own, */
  ENOUGH_MESSAGES = 32,  /* or messages: while the other side works off these, more can be made */
  MOST_BYTES = 16 << 20, /* that wait while the socket takes nothing */
};

/* --- sending ------------------------------------------------------------------------------------------------------ */

static size_t size_of_docs(const kg_msg_t *m) {
  size_t size = kg_doc_size(m->args);
  for (uint32_t i = 0; i < m->ndocs && size <= KG_WIRE_INLINE; i++) size += kg_doc_size(m->docs[i]);
  return size;
}

static uint8_t *put(uint8_t *at, const kg_doc_t *doc) {
  size_t n = kg_doc_size(doc);
  if (n) memcpy(at, kg_doc_data(doc), n);
  return at + n;
}

typedef struct envelope {
  size_t size;
  uint8_t bytes[KG_ENVELOPE_MAX];
} envelope_t;

/* Attachments in frame 0 come behind the arguments: nil stands for those that are not there. */
static bool lacks_args(const kg_msg_t *m) {
  return m->ndocs && !m->args;
}

/* Frame 0; the documents are in it if `all`. */
static void put_head(uint8_t *at, const kg_msg_t *m, const envelope_t *e, bool all) {
  memcpy(at, e->bytes, e->size);
  at = put(at + e->size, m->args);
  if (all && lacks_args(m)) *at++ = 0xc0;
  for (uint32_t i = 0; all && i < m->ndocs; i++) at = put(at, m->docs[i]);
}

static int make_room(kg_wire_t *w, size_t n) {
  size_t room = w->room ? w->room : w->usual;
  while (room < w->size + n) room = room ? 2 * room : 2 * n;
  uint8_t *out = room == w->room ? w->out : realloc(w->out, room);
  if (!out) return -1;
  w->out = out;
  w->room = room;
  return 0;
}

static void release_out(void *data, void *out) {
  (void)data;
  KG_TAKEN(out);
  free(out);
}

static int fails(int why, kg_error_t *err) {
  return why == EAGAIN ? 1 : kg_error_set(err, KG_EINTERNAL, "the socket fails: %s", zmq_strerror(why));
}

static int send_held(kg_wire_t *w, void *socket, kg_error_t *err) {
  if (zmq_msg_send(&w->held, socket, ZMQ_DONTWAIT) < 0) return fails(errno, err);
  w->holds = false;
  return 0;
}

int kg_wire_flush(kg_wire_t *w, void *socket, kg_error_t *err) {
  size_t skip = w->count == 1 ? BIN_HEAD : 0; /* one alone needs no wrapping */
  int rc = w->holds ? send_held(w, socket, err) : 0;
  if (rc != 0 || w->count == 0) return rc;
  if (zmq_msg_init_data(&w->held, w->out + skip, w->size - skip, release_out, w->out) < 0)
    return kg_error_set(err, KG_EFULL, "out of memory");
  KG_HANDED(w->out);
  w->holds = true;
  w->usual = w->size + w->size / 4;
  w->out = NULL;
  w->size = w->room = w->count = 0;
  return send_held(w, socket, err);
}

static void release_doc(void *data, void *doc) {
  (void)data;
  KG_TAKEN(doc);
  kg_doc_unref(doc);
}

static int send_doc(void *socket, kg_doc_t *doc, int flags) {
  zmq_msg_t z;
  kg_doc_ref(doc);
  KG_HANDED(doc);
  if (zmq_msg_init_data(&z, (void *)kg_doc_data(doc), kg_doc_size(doc), release_doc, doc) < 0) {
    kg_doc_unref(doc);
    return -1;
  }
  if (zmq_msg_send(&z, socket, flags) >= 0) return 0;
  zmq_msg_close(&z);
  return -1;
}

/* With its documents as frames of their own. */
static int send_frames(void *socket, const kg_msg_t *m, const envelope_t *e, kg_error_t *err) {
  zmq_msg_t z;
  if (zmq_msg_init_size(&z, e->size + kg_doc_size(m->args)) < 0) return kg_error_set(err, KG_EFULL, "out of memory");
  put_head(zmq_msg_data(&z), m, e, false);
  if (zmq_msg_send(&z, socket, ZMQ_DONTWAIT | (m->ndocs ? ZMQ_SNDMORE : 0)) < 0) {
    int why = errno;
    zmq_msg_close(&z);
    return fails(why, err);
  }
  /* ZeroMQ refuses a message as a whole at its first frame; what follows waits for nothing. */
  for (uint32_t i = 0; i < m->ndocs; i++)
    if (send_doc(socket, m->docs[i], ZMQ_DONTWAIT | (i + 1 < m->ndocs ? ZMQ_SNDMORE : 0)) < 0)
      return kg_error_set(err, KG_EINTERNAL, "the socket fails: %s", zmq_strerror(errno));
  return 0;
}

/* Behind those that wait. */
static int add(kg_wire_t *w, const kg_msg_t *m, const envelope_t *e, size_t size, kg_error_t *err) {
  if (make_room(w, BIN_HEAD + size) < 0) return kg_error_set(err, KG_EFULL, "out of memory");
  uint8_t *at = w->out + w->size;
  *at++ = 0xc6;
  for (int i = 3; i >= 0; i--) *at++ = (uint8_t)(size >> (8 * i));
  put_head(at, m, e, true);
  w->size += BIN_HEAD + size;
  w->count++;
  return 0;
}

int kg_wire_send(kg_wire_t *w, void *socket, const kg_msg_t *m, uint64_t id, int64_t now_ms, kg_error_t *err) {
  envelope_t e;
  size_t docs = size_of_docs(m);
  bool all = docs <= KG_WIRE_INLINE;
  if (!all || w->size >= ENOUGH || w->count >= ENOUGH_MESSAGES) {
    int rc = kg_wire_flush(w, socket, err);
    if (rc < 0 || (rc && (!all || w->size >= MOST_BYTES))) return rc;
  }
  e.size = kg_envelope_write(m, id, all && m->ndocs ? KG_FLAG_INLINE : 0, now_ms, e.bytes);
  return all ? add(w, m, &e, e.size + docs + lacks_args(m), err) : send_frames(socket, m, &e, err);
}

/* --- receiving ---------------------------------------------------------------------------------------------------- */

static void release_frame(void *data, void *frame) {
  (void)data;
  zmq_msg_close(frame);
  free(frame);
}

/* A document over the frame's own bytes; takes the frame over. */
static kg_doc_t *doc_of(zmq_msg_t *z, kg_error_t *err) {
  size_t size = zmq_msg_size(z);
  kg_doc_t *doc = NULL;
  if (kg_doc_check(zmq_msg_data(z), size, err) == 0) {
    zmq_msg_t *frame = malloc(sizeof *frame);
    if (frame) {
      zmq_msg_init(frame);
      zmq_msg_move(frame, z);
      doc = kg_doc_wrap(zmq_msg_data(frame), size, release_frame, frame);
      if (!doc) release_frame(NULL, frame);
    }
    if (!doc) kg_error_set(err, KG_EFULL, "out of memory");
  }
  zmq_msg_close(z);
  return doc;
}

typedef struct incoming {
  kg_msg_init_t init;
  char scratch[KG_ENVELOPE_MAX + 8];
  kg_doc_t *few[4], **docs;
  size_t room;
} incoming_t;

static int add_doc(incoming_t *in, kg_doc_t *doc, kg_error_t *err) {
  if (!doc) return -1;
  if (in->init.ndocs == in->room) {
    size_t room = in->room * 2;
    kg_doc_t **more = in->docs == in->few ? NULL : in->docs;
    more = room > 2 * KG_MSG_MAX_DOCS ? NULL : realloc(more, room * sizeof(kg_doc_t *));
    if (!more) {
      kg_doc_unref(doc);
      return kg_error_set(err, KG_ETOOBIG, "too many attachments, or out of memory");
    }
    if (in->docs == in->few) memcpy(more, in->few, sizeof in->few);
    in->docs = more;
    in->room = room;
  }
  in->docs[in->init.ndocs++] = doc;
  return 0;
}

/* The next value of frame 0, checked and copied: it is small. */
static kg_doc_t *next_value(const uint8_t **at, const uint8_t *end, kg_error_t *err) {
  size_t n;
  if (kg_value_check(*at, (size_t)(end - *at), &n, err) < 0) return NULL;
  kg_doc_t *doc = kg_doc_copy(*at, n);
  if (!doc) kg_error_set(err, KG_EFULL, "out of memory");
  *at += n;
  return doc;
}

static int read_head(incoming_t *in, const uint8_t *at, const uint8_t *end, int64_t now_ms, kg_error_t *err) {
  size_t n = kg_envelope_read(at, (size_t)(end - at), now_ms, &in->init, in->scratch, err);
  if (n == 0) return -1;
  at += n;
  bool all = in->init.flags & KG_FLAG_INLINE;
  in->init.flags &= ~(uint32_t)KG_FLAG_INLINE;
  if (at < end) {
    if (all && *at == 0xc0)
      at++;
    else if (!(in->init.args = next_value(&at, end, err)))
      return -1;
  }
  while (all && at < end)
    if (add_doc(in, next_value(&at, end, err), err) < 0) return -1;
  return at == end ? 0 : kg_error_set(err, KG_EINVAL, "frame 0 has bytes after its end (rule 1)");
}

/* Takes the rest of a multipart message: as attachments, or to throw it away. */
static int read_rest(incoming_t *in, void *socket, bool more, int rc, kg_error_t *err) {
  while (more) {
    zmq_msg_t z;
    zmq_msg_init(&z);
    if (zmq_msg_recv(&z, socket, ZMQ_DONTWAIT) < 0) break; /* cannot be: messages come whole */
    more = zmq_msg_more(&z);
    if (rc == 0)
      rc = add_doc(in, doc_of(&z, err), err);
    else
      zmq_msg_close(&z);
  }
  return rc;
}

/* What frame 0, or a part of it, and the frames after it say. */
static int read_message(const uint8_t *at, const uint8_t *end, void *socket, bool more, int64_t now_ms, kg_msg_t **out,
                        kg_error_t *err) {
  incoming_t in;
  in.docs = in.few;
  in.room = sizeof in.few / sizeof *in.few;
  int rc = read_head(&in, at, end, now_ms, err);
  rc = read_rest(&in, socket, more, rc, err);
  in.init.docs = in.docs;
  if (rc == 0 && !(*out = kg_msg_new(&in.init))) rc = kg_error_set(err, KG_EFULL, "out of memory");
  kg_doc_unref(in.init.args);
  for (size_t i = 0; i < in.init.ndocs; i++) kg_doc_unref(in.docs[i]);
  if (in.docs != in.few) free(in.docs);
  return rc < 0 ? -1 : 1;
}

static void close_several(kg_wire_t *w) {
  if (w->at) zmq_msg_close(&w->in);
  w->at = w->end = NULL;
}

static int next_of_several(kg_wire_t *w, int64_t now_ms, kg_msg_t **out, kg_error_t *err) {
  kg_head_t h = kg_head_read(w->at, w->end);
  if (h.type != KG_V_BIN) {
    close_several(w);
    return kg_error_set(err, KG_EINVAL, "frame 0 is no sequence of messages (rule 1)");
  }
  const uint8_t *at = w->at + h.own;
  int rc = read_message(at, at + h.length, NULL, false, now_ms, out, err);
  w->at = at + h.length;
  if (w->at == w->end) close_several(w);
  return rc;
}

int kg_wire_recv(kg_wire_t *w, void *socket, int64_t now_ms, kg_msg_t **out, int *source_fd, kg_error_t *err) {
  zmq_msg_t z;
  *out = NULL;
  if (!w->at) {
    zmq_msg_init(&z);
    if (zmq_msg_recv(&z, socket, ZMQ_DONTWAIT) < 0) return 0;
    w->source_fd = source_fd ? zmq_msg_get(&z, ZMQ_SRCFD) : -1;
  }
  if (source_fd) *source_fd = w->source_fd;
  if (w->at) return next_of_several(w, now_ms, out, err);
  const uint8_t *at = zmq_msg_data(&z), *end = at + zmq_msg_size(&z);
  if (!zmq_msg_more(&z) && kg_head_read(at, end).type == KG_V_BIN) {
    zmq_msg_init(&w->in);
    zmq_msg_move(&w->in, &z);
    w->at = zmq_msg_data(&w->in);
    w->end = w->at + zmq_msg_size(&w->in);
    return next_of_several(w, now_ms, out, err);
  }
  int rc = read_message(at, end, socket, zmq_msg_more(&z), now_ms, out, err);
  zmq_msg_close(&z);
  return rc;
}

void kg_wire_forget(kg_wire_t *w) {
  if (w->holds) zmq_msg_close(&w->held);
  free(w->out);
  w->holds = false;
  w->out = NULL;
  w->size = w->room = w->count = 0;
}

void kg_wire_end(kg_wire_t *w) {
  kg_wire_forget(w);
  close_several(w);
}
