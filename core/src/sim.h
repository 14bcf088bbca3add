#ifndef KG_SIM_H
#define KG_SIM_H
/* The simulation as the rest of the kernel sees it; sim.c runs it, sim_fault.c spoils it, sim_trace.c tells of it. */
#include "kogge/sim.h"
#include "manager.h"

/* A message on its way: in the lane's heap, at the moment it arrives. */
typedef struct kg_flight {
  kg_due_t due; /* first */
  struct kg_flight *prev, *next;
  kg_parcel_t p;
} kg_flight_t;

typedef struct kg_faulty {
  struct kg_faulty *next;
  kg_sim_fault_t f; /* its strings are owned */
} kg_faulty_t;

struct kg_sim {
  kg_kernel_t *k;
  kg_lane_t *lane; /* made with the first instance */
  kg_sim_options_t o;
  int64_t now_us;
  uint64_t random, messages;
  uint64_t idle_steps; /* since the clock moved */
  kg_flight_t *flights;
  kg_table_t arrivals; /* sender and receiver -> when the last message of that link arrives */
  kg_faulty_t *faults, **last_fault;
  kg_ctx_t *ghost;   /* gets the answers to duplicates */
  uint64_t ghost_id; /* number of the last duplicate */
  kg_ctx_t *crashed; /* what its destroy() says is not heard */
};

/* From kg_lane_post(). Takes the parcel over. */
void kg_sim_post(kg_sim_t *s, kg_parcel_t p);
/* Puts it on its way, delay_us later than it would be, without faults. Takes the parcel over. */
void kg_sim_send(kg_sim_t *s, kg_parcel_t p, int64_t delay_us);
/* Does what a faulty link does; true if the parcel is taken over. *delay_us: how much later it comes. */
bool kg_sim_spoil(kg_sim_t *s, kg_parcel_t *p, int64_t *delay_us);
bool kg_sim_chance(kg_sim_t *s, double probability);
int64_t kg_sim_between(kg_sim_t *s, int64_t min, int64_t max);

/* In the place of waiting for a lane's thread: runs until one of the flags is set or so much virtual time has gone. */
void kg_sim_wait(kg_sim_t *s, const bool *flag, const int *code, int64_t timeout_ms);
kg_job_t *kg_sim_job(kg_ctx_t *ctx, kg_job_t *job, int64_t timeout_ms, kg_error_t *err);
/* Fills in a new lane that has no thread. */
void kg_sim_lane(kg_sim_t *s, kg_lane_t *lane);
void kg_sim_free(kg_sim_t *s);

/* --- trace --- */
void kg_sim_tell(kg_sim_t *s, const char *what, const kg_parcel_t *p);
void kg_sim_ran(kg_lane_t *lane, const kg_ctx_t *ctx, const char *what);
void kg_sim_log(kg_sim_t *s, const char *level, const char *who, const char *text);

#endif
