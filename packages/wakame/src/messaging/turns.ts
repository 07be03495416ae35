/**
 * Steps that are taken one after the other without letting the event loop go on, at most. With a transport in memory each answer
 * may be there at once, and a loop of promises alone never yields: timers and sockets must have their turn too.
 */
export const MOST_IN_A_TURN = 512;
