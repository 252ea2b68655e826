/**
 * What a hypervisor says of its endpoints, brought to the moves concerned: stopped, running, resumed.
 *
 * None of these is needed for a move to end well; they make it exact and quick. "Running" counts like
 * the first frame of the endpoint; where no move expects it, the segment is asked, because only a
 * frame of its own tells a MAC address. What each side makes of it is in moves.ts, move-source.ts.
 */
import { type Eid, MAXIMUM_ENDPOINT_EIDS } from '../../lisp/eid.js'
import type { MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import type { Command, CommandResult } from '../command.js'
import { refusal } from '../etr/etr.js'
import type { Output } from '../input-output.js'
import { push } from '../outputs.js'
import type { MoveSource } from './move-source.js'
import type { Moves } from './moves.js'

export type EndpointCommand = Extract<
  Command,
  { kind: 'endpoint-stopped' | 'endpoint-running' | 'endpoint-resumed' }
>

/** An event older than this is history. */
export const OLDEST_EVENT_MS = 60_000

/**
 * Answers `{ moves }`, the names of the moves that the event concerned, possibly none; refuses lists
 * that are empty or too long and events of the future or of long ago.
 */
export function handleEndpointEvent(
  command: EndpointCommand,
  parts: { readonly database: MappingDatabase; readonly moves: Moves; readonly source: MoveSource },
  now: Instant,
  outputs: Output[],
): CommandResult {
  const { eids } = command
  if (eids.length === 0 || eids.length > MAXIMUM_ENDPOINT_EIDS)
    return refusal(400, 'bad-eid-count', `an event names 1 to ${MAXIMUM_ENDPOINT_EIDS} EIDs`)
  const answer = (moves: readonly string[]): CommandResult => ({ ok: true, value: { moves } })
  const agoMs = command.kind === 'endpoint-running' ? 0 : (command.agoMs ?? 0)
  if (!(agoMs >= 0 && agoMs <= OLDEST_EVENT_MS))
    return refusal(400, 'bad-age', `agoMs is between 0 and ${OLDEST_EVENT_MS}`)
  if (command.kind === 'endpoint-resumed')
    return answer(parts.source.resumed(eids, agoMs, now, outputs))
  if (command.kind === 'endpoint-stopped') {
    const { gone = false } = command
    return answer(parts.source.stopped(eids, agoMs, gone, now, outputs))
  }
  const moves = parts.moves.endpointRunning(eids, now, outputs)
  if (moves.length === 0) ask(eids, parts.database, outputs)
  return answer(moves)
}

function ask(eids: readonly Eid[], database: MappingDatabase, outputs: Output[]): void {
  for (const eid of eids) {
    const interfaceName = database.dynamicPrefixOf(eid)?.interfaceName
    if (interfaceName !== undefined && database.getEid(eid)?.state !== 'local')
      push(outputs, { kind: 'solicit-endpoint', eid, interfaceName })
  }
}
