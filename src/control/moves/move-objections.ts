/**
 * Why a move to this node cannot even begin, as the answer to who asked for it; and whom to ask.
 *
 * Looks only at what is known here; whether the source agrees is its own decision (move-source.ts).
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../../lisp/address.js'
import { type Eid, formatEid, MAXIMUM_ENDPOINT_EIDS } from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import type { MappingDatabase } from '../../tables/mapping-database.js'
import type { CommandResult } from '../command.js'
import { isOwnRloc } from '../control-datagram.js'
import { refusal } from '../etr/etr.js'

/** Undefined when the move may begin; `isMoving` tells of EIDs that are on a move, to here or away. */
export function objectionToMove(
  config: NodeConfig,
  database: MappingDatabase,
  isMoving: (eid: Eid) => boolean,
  eids: readonly Eid[],
  source: Rloc | undefined,
): CommandResult | undefined {
  if (config.mobility.key === undefined)
    return refusal(503, 'no-mobility-key', 'mobility.key is not configured on this node')
  if (eids.length === 0 || eids.length > MAXIMUM_ENDPOINT_EIDS)
    return refusal(400, 'bad-eid-count', `a move takes 1 to ${MAXIMUM_ENDPOINT_EIDS} EIDs`)
  for (const eid of eids) {
    const name = formatEid(eid)
    if (database.dynamicPrefixOf(eid) === undefined)
      return refusal(404, 'eid-not-allowed', `${name} is in no dynamic-EID prefix of this node`)
    if (isMoving(eid)) return refusal(409, 'move-in-progress', `${name} is being moved already`)
    if (database.getEid(eid)?.state === 'local')
      return refusal(409, 'already-local', `${name} is here already`)
  }
  if (source !== undefined && isOwnRloc(config, source))
    return refusal(400, 'source-is-this-node', 'the source of a move must be another xTR')
  if (source !== undefined && !isMovePeer(config, source))
    return refusal(404, 'unknown-xtr', `${formatIpAddress(source)} is not among mobility.peers`)
  return undefined
}

/** Whether the RLOC is of the mobility domain; without a list every xTR that has the key is. */
function isMovePeer(config: NodeConfig, rloc: Rloc): boolean {
  const { peers } = config.mobility
  return peers.length === 0 || peers.some((one) => equalIpAddresses(one, rloc))
}

/** A source that was named and never spoke is most likely no xTR, or none of this domain. */
export function noAnswer(config: NodeConfig, name: string, isKnown: boolean): CommandResult {
  const message = `${name} did not answer within ${config.mobility.endpointTimeoutMs} ms`
  return isKnown
    ? refusal(504, 'source-unreachable', message)
    : refusal(404, 'unknown-xtr', `${message}, and no xTR of this domain was ever heard from there`)
}

/** The RLOC to speak to about a move: of the best priority among those of the mobility domain. */
export function chooseMovePeer(config: NodeConfig, locators: readonly Locator[]): Rloc | undefined {
  return locators
    .filter((one) => isMovePeer(config, one.rloc))
    .sort((a, b) => a.priority - b.priority)[0]?.rloc
}
