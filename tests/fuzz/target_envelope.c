/* Messages of other processes (PROTOCOL.md) and of the command line's socket. */
#include "frame.h"
#include "fuzz.h"
#include "msg_internal.h"

static void same_again(const kg_msg_init_t *init) {
  kg_msg_t *m = kg_msg_new(init);
  FUZZ_MUST(m);
  kg_doc_t *bytes = kg_envelope_encode(m, 1000);
  fuzz_check(bytes);
  char *scratch = malloc(KG_ENVELOPE_MAX + 8);
  kg_msg_init_t again;
  kg_error_t err = {0};
  int rc = kg_envelope_decode(kg_doc_data(bytes), kg_doc_size(bytes), 1000, &again, scratch, &err);
  FUZZ_MUST(rc == 0);
  FUZZ_MUST(again.type == init->type && again.id == init->id && again.deadline_ms == init->deadline_ms &&
            again.code == init->code && again.credit == init->credit && again.flags == init->flags);
  FUZZ_MUST(!strcmp(again.topic, init->topic) && !strcmp(again.source, init->source) &&
            !strcmp(again.service, init->service));
  FUZZ_MUST(!strncmp(again.text, init->text, strlen(again.text))); /* long ones are cut */
  free(scratch);
  kg_doc_unref(bytes);
  kg_msg_unref(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kg_msg_init_t init;
  kg_error_t err = {0};
  char *scratch = malloc(KG_ENVELOPE_MAX + 8);
  if (kg_envelope_decode(data, size, 1000, &init, scratch, &err) == 0)
    same_again(&init);
  else
    FUZZ_MUST(err.text[0]);
  free(scratch);
  kg_frame_t f;
  if (kg_frame_read(data, size, &f) == 0) FUZZ_MUST(f.topic.n <= size && f.text.n <= size);
  return 0;
}
