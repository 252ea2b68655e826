/**
 * A *prepared* that nobody waits for: a source redirects to us for an attempt that is over here,
 * because its *prepare* was late or was said again by somebody. Without our word it would do so
 * until it asks the mapping system, and its packets would find no endpoint.
 *
 * Our word is *cancel* with the EIDs in it. It is not said for an attempt that succeeded (the answer
 * is only a repetition), nor while an EID of it is here or expected.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import type { Rloc } from '../../lisp/locator.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { Instant } from '../capabilities.js'
import { ownLocators, ownMapping } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import { moveName } from './move-log.js'
import type { MoveParts } from './move-parts.js'

/** How long the cancellation is repeated; after that the source finds out by itself. */
const CANCEL_MS = 1000

/** What answers a stray *prepared*; the attempt must not be under way here. */
export function createStrayRefusal(
  config: NodeConfig,
  { database, exchange, log }: Pick<MoveParts, 'database' | 'exchange' | 'log'>,
): (message: MoveMessage, from: Rloc, now: Instant, outputs: Output[]) => void {
  const locators = ownLocators(config)

  return ({ moveId, records }, from, now, outputs) => {
    const state = log.byId(moveId)?.state
    if (state === 'arrived' || state === 'converged') return
    const states = records.map(({ eidPrefix }) => database.get(eidPrefix)?.state)
    if (states.some((one) => one === 'local' || one === 'standby')) return
    const content = {
      phase: 'cancel' as const,
      moveId,
      reason: 'superseded' as const,
      records: records.map((one) => ownMapping(one.eidPrefix, locators, 0, 0)),
    }
    const key = `cancel/${moveName(moveId)}/${formatIpAddress(from)}`
    exchange.ask(key, from, content, now + CANCEL_MS, () => {}, now, outputs)
  }
}
