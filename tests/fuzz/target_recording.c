/* Recorded messages. The first byte chooses: a whole file, or bodies of frames to which we give length and checksum. */
#include "fuzz.h"
#include "kube/json.h"
#include "msg_internal.h"
#include "recording.h"

static int told(void *arg, const kg_recorded_t *r) {
  uint64_t *n = arg;
  FUZZ_MUST(r->to[0] && r->time_us >= 0 && kg_msg_topic(r->m)[0]);
  for (size_t i = 0; i < kg_msg_ndocs(r->m); i++) fuzz_check(kg_msg_doc(r->m, i));
  if (kg_view_there(kg_msg_args(r->m))) kg_view_span(kg_msg_args(r->m));
  ++*n;
  return 0;
}

static void add_frame(kube_buf_t *file, const void *body, size_t n) {
  uint32_t sum = 2166136261u;
  for (size_t i = 0; i < n; i++) sum = (sum ^ ((const uint8_t *)body)[i]) * 16777619u;
  uint32_t head[2] = {(uint32_t)n, sum};
  kube_buf_add(file, head, sizeof head);
  kube_buf_add(file, body, n);
}

static void read_file(const void *data, size_t n) {
  kg_error_t err = {0};
  kg_recording_t sum;
  uint64_t count = 0;
  int rc = kg_recording_read(data, n, told, &count, &sum, &err);
  FUZZ_MUST(count == sum.messages);
  FUZZ_MUST(rc == 0 ? sum.whole + sum.cut == n : err.text[0] != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_in_t in = {data, data + size};
  bool frames = fuzz_byte(&in) & 1;
  kube_buf_t file = {0};
  if (frames) {
    uint8_t *begin;
    size_t n;
    FUZZ_MUST(kg_recording_begin(1, &begin, &n) == 0);
    kube_buf_add(&file, begin, n);
    free(begin);
  } else
    kube_buf_add(&file, in.p, (size_t)(in.end - in.p));
  while (frames && in.p < in.end) {
    kg_str_t body = fuzz_part(&in);
    add_frame(&file, body.p, body.n);
    free((char *)body.p);
  }
  if (file.n) read_file(file.p, file.n);
  kube_buf_free(&file);
  return 0;
}
