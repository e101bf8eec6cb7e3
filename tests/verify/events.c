/* events.c - scenarios of the event. */
#include "explore.h"
const vf_scenario vf_events[] = {{0}};
const vf_scenario vf_conds[] = {{0}};
const vf_scenario vf_barriers[] = {{0}};
