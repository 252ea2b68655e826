/**
 * The words of a Move message: its phases and reasons, each numbered by its place in the list.
 *
 * What they mean is said at `MoveMessage` in message.ts; how they are laid out in move-message.ts.
 * New words go at the end, or the numbers of all others change.
 */
export const MOVE_PHASES = [
  'prepare',
  'prepared',
  'refused',
  'confirm',
  'cancel',
  'ack',
  'solicited',
  'prepare-live',
  'stopped',
] as const
export type MovePhase = (typeof MOVE_PHASES)[number]

export const MOVE_REASONS = [
  'none',
  'not-local',
  'prefix-not-allowed',
  'move-in-progress',
  'endpoint-absent',
  'operator',
  'superseded',
  'gone',
] as const
export type MoveReason = (typeof MOVE_REASONS)[number]
