#ifndef FAKE_H
#define FAKE_H
/*
 * A runtime and network without containers. The first word of a container's command says how it goes: "run" runs until
 * it is stopped, "gentle", too, and then ends with 0, "stubborn" until it is killed, "slow" as "run", but takes a while
 * to start, "nope" cannot be run, "exit N" ends at once with N. What there is outlives the plugins, as real containers
 * do.
 */
#include "kogge/plugin.h"

extern const kg_plugin_t fake_runtime;

void fake_reset(void);
/* Number of calls of this topic so far whose id contains `part` (NULL: any). */
int fake_calls(const char *topic, const char *part);
/* Position of the first such call among all, -1: there was none. */
int fake_order(const char *topic, const char *part);
/* grace_ms of the last container.stop whose id contains `part`. */
int64_t fake_grace(const char *part);
/* Arguments of the last such call (owned), NULL: there was none. */
kg_doc_t *fake_args(const char *topic, const char *part);
/* From now on what runs may not be given other limits. */
void fake_refuse_updates(bool refuse);
int fake_running(void);
/* Everything is lost, as after a start of the machine. */
void fake_reboot(void);
/* Nothing is known any more, as after another runtime took the place. */
void fake_forget(void);

#endif
