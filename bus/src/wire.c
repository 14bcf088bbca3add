#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* --- sending
 * --------------------------------------------------------------------------------------------------------------- */

static bool goes_inline(const kg_msg_t *m) {
  size_t size = kg_doc_size(m->args);
  for (uint32_t i = 0; i < m->ndocs && size <= KG_WIRE_INLINE; i++) size += kg_doc_size(m->docs[i]);
  return size <= KG_WIRE_INLINE;
}

static uint8_t *put(uint8_t *at, const kg_doc_t *doc) {
  size_t n = kg_doc_size(doc);
  if (n) memcpy(at, kg_doc_data(doc), n);
  return at + n;
}

static int make_head(zmq_msg_t *z, const kg_msg_t *m, uint64_t id, bool all, int64_t now_ms) {
  uint8_t envelope[KG_ENVELOPE_MAX];
  size_t n = kg_envelope_write(m, id, all && m->ndocs ? KG_FLAG_INLINE : 0, now_ms, envelope), size = n;
  bool nil = all && m->ndocs && !m->args;
  size += kg_doc_size(m->args) + nil;
  for (uint32_t i = 0; all && i < m->ndocs; i++) size += kg_doc_size(m->docs[i]);
  if (zmq_msg_init_size(z, size) < 0) return -1;
  uint8_t *at = zmq_msg_data(z);
  memcpy(at, envelope, n);
  at = put(at + n, m->args);
  if (nil) *at++ = 0xc0;
  for (uint32_t i = 0; all && i < m->ndocs; i++) at = put(at, m->docs[i]);
  return 0;
}

static void release_doc(void *data, void *doc) {
  (void)data;
  kg_doc_unref(doc);
}

static int send_doc(void *socket, kg_doc_t *doc, int flags) {
  zmq_msg_t z;
  kg_doc_ref(doc);
  if (zmq_msg_init_data(&z, (void *)kg_doc_data(doc), kg_doc_size(doc), release_doc, doc) < 0) {
    kg_doc_unref(doc);
    return -1;
  }
  if (zmq_msg_send(&z, socket, flags) >= 0) return 0;
  zmq_msg_close(&z);
  return -1;
}

int kg_wire_send(void *socket, const kg_msg_t *m, uint64_t id, int64_t now_ms, kg_error_t *err) {
  bool all = goes_inline(m);
  int more = !all && m->ndocs ? ZMQ_SNDMORE : 0;
  zmq_msg_t z;
  if (make_head(&z, m, id, all, now_ms) < 0) return kg_error_set(err, KG_EFULL, "out of memory");
  if (zmq_msg_send(&z, socket, ZMQ_DONTWAIT | more) < 0) {
    int why = errno;
    zmq_msg_close(&z);
    return why == EAGAIN ? 1 : kg_error_set(err, KG_EINTERNAL, "the socket fails: %s", zmq_strerror(why));
  }
  /* ZeroMQ refuses a message as a whole at its first frame; what follows waits for nothing. */
  for (uint32_t i = 0; more && i < m->ndocs; i++)
    if (send_doc(socket, m->docs[i], ZMQ_DONTWAIT | (i + 1 < m->ndocs ? ZMQ_SNDMORE : 0)) < 0)
      return kg_error_set(err, KG_EINTERNAL, "the socket fails: %s", zmq_strerror(errno));
  return 0;
}

/* --- receiving
 * ------------------------------------------------------------------------------------------------------------- */

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
  kg_doc_t **docs;
  size_t room;
} incoming_t;

static int add_doc(incoming_t *in, kg_doc_t *doc, kg_error_t *err) {
  if (!doc) return -1;
  if (in->init.ndocs == in->room) {
    size_t room = in->room ? in->room * 2 : 4;
    kg_doc_t **docs = room > 2 * KG_MSG_MAX_DOCS ? NULL : realloc(in->docs, room * sizeof(kg_doc_t *));
    if (!docs) {
      kg_doc_unref(doc);
      return kg_error_set(err, KG_ETOOBIG, "too many attachments, or out of memory");
    }
    in->docs = docs;
    in->room = room;
  }
  in->docs[in->init.ndocs++] = doc;
  return 0;
}

/* The next value of frame 0, checked and copied: it is small. */
static kg_doc_t *next_value(const uint8_t **at, const uint8_t *end, kg_error_t *err) {
  size_t n = kg_view_span((kg_view_t){*at, end});
  if (n == 0 || kg_doc_check(*at, n, err) < 0) {
    if (n == 0) kg_error_set(err, KG_EINVAL, "frame 0 is malformed or cut off (rule 1)");
    return NULL;
  }
  kg_doc_t *doc = kg_doc_copy(*at, n);
  if (!doc) kg_error_set(err, KG_EFULL, "out of memory");
  *at += n;
  return doc;
}

static int read_head(incoming_t *in, zmq_msg_t *z, int64_t now_ms, kg_error_t *err) {
  const uint8_t *at = zmq_msg_data(z), *end = at + zmq_msg_size(z);
  size_t n = kg_view_span((kg_view_t){at, end});
  if (n == 0) return kg_error_set(err, KG_EINVAL, "frame 0 does not begin with an envelope (rule 1)");
  if (kg_envelope_decode(at, n, now_ms, &in->init, in->scratch, err) < 0) return -1;
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

int kg_wire_recv(void *socket, int64_t now_ms, kg_msg_t **out, int *source_fd, kg_error_t *err) {
  incoming_t in;
  in.docs = NULL;
  in.room = 0;
  zmq_msg_t z;
  *out = NULL;
  zmq_msg_init(&z);
  if (zmq_msg_recv(&z, socket, ZMQ_DONTWAIT) < 0) return 0;
  bool more = zmq_msg_more(&z);
  if (source_fd) *source_fd = zmq_msg_get(&z, ZMQ_SRCFD);
  int rc = read_head(&in, &z, now_ms, err);
  zmq_msg_close(&z);
  rc = read_rest(&in, socket, more, rc, err);
  in.init.docs = in.docs;
  if (rc == 0 && !(*out = kg_msg_new(&in.init))) rc = kg_error_set(err, KG_EFULL, "out of memory");
  kg_doc_unref(in.init.args);
  for (size_t i = 0; i < in.init.ndocs; i++) kg_doc_unref(in.docs[i]);
  free(in.docs);
  return rc < 0 ? -1 : 1;
}
