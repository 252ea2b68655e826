/**
 * How many answers a node gives, and to whom (RFC 9301 §5.4: replies MUST be limited in rate).
 *
 * An answer goes to an ITR-RLOC that the question names, so anybody can have answers sent to anybody:
 * what one target gets is bounded, and so is what one source can cause, whatever targets it names.
 * What a target asked for from its own address and what others asked for in its name are counted
 * apart: a stranger who names somebody else as ITR-RLOC must not use up what that one is entitled to.
 * RFC 9301 §5.4 recommends one Map-Reply per 3 s and RLOC. Our choice is a bucket per RLOC and prefix,
 * so that the two families of one moved endpoint do not wait for each other, under the two ceilings.
 */
import type { NodeConfig } from '../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../lisp/address.js'
import type { Rloc } from '../lisp/locator.js'
import type { Instant } from './capabilities.js'
import { createRateLimit } from './rate-limit.js'

export interface AnswerLimits {
  /**
   * Whether `to` may be answered on a question of `from`; takes the tokens when it may.
   * @param asked the prefix of the question as text; undefined: only the ceilings count
   */
  take(from: Rloc, to: Rloc, asked: string | undefined, now: Instant): boolean
}

const PER_PREFIX = { burst: 4, refillPerSecond: 1 / 3, maximumKeys: 100_000 }
const MAXIMUM_RLOCS = 10_000
/**
 * Our choice: a Map-Resolver asks in the name of many ITRs, so a source may cause as much as so many
 * targets may get. At the default of 100 a second and 576 bytes that is 1.2 MB/s at most.
 */
export const TARGETS_PER_SOURCE = 20

export function createAnswerLimits(config: NodeConfig): AnswerLimits {
  const perSecond = config.mapCache.repliesPerLocatorPerSecond
  const ceiling = (times: number) =>
    createRateLimit({
      burst: Math.max(1, Math.ceil(perSecond * times)),
      refillPerSecond: perSecond * times,
      maximumKeys: MAXIMUM_RLOCS,
    })
  const perPrefix = createRateLimit(PER_PREFIX)
  const perTarget = ceiling(1)
  const perSource = ceiling(TARGETS_PER_SOURCE)

  return {
    take(from, to, asked, now) {
      const target = formatIpAddress(to)
      const key = equalIpAddresses(from, to) ? target : `others for ${target}`
      if (!perSource.take(formatIpAddress(from), now)) return false
      if (!perTarget.take(key, now)) return false
      return asked === undefined || perPrefix.take(`${key} ${asked}`, now)
    },
  }
}
