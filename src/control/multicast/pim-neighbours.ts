/**
 * The PIM routers of one link, and our Hellos to them (RFC 7761 §4.3).
 *
 * A neighbour is who has said Hello on this link and has not been silent for its holdtime; nobody else
 * is listened to. From their options come the Designated Router, the time that others have to override
 * a prune, and whether joins may be suppressed. A neighbour that comes back with another generation ID
 * has forgotten what it was told. How joins are kept is decided in pim-downstream.ts and
 * pim-upstream.ts.
 */
import { compareIpAddresses, formatIpAddress, type IpAddress } from '../../lisp/address.js'
import type { HelloOption, PimHello } from '../../lisp/multicast/pim.js'
import type { Instant, Random } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'

/** What a Hello has changed. */
export type HelloEffect = 'new' | 'restarted' | 'known' | 'gone' | 'refused'

export interface PimNeighbours {
  /** The first Hello leaves within five seconds (§4.3.1), at once when `sayNow` comes before. */
  start(now: Instant): void
  handleHello(hello: PimHello, from: IpAddress, now: Instant, outputs: Output[]): HelloEffect
  has(address: IpAddress): boolean
  /** Any other router on the link. */
  readonly size: number
  /** A Hello before anything else that is said: routers ignore strangers (§4.3.1). */
  sayNow(now: Instant, outputs: Output[]): void
  /** §4.3.2: the highest priority, then address; ourselves when we are alone. */
  designatedRouter(own: IpAddress): IpAddress
  /** §4.3.3: how long a prune waits for others who still want the packets, milliseconds. */
  overrideMs(): number
  /** The part of it in which our own override leaves. */
  overrideIntervalMs(): number
  /** §4.3.3: joins of others are enough, because somebody does not track who joins. */
  maySuppress(): boolean
  /** Goodbye: holdtime 0. */
  leave(outputs: Output[]): void
  /** Names the neighbours that have been silent for too long. */
  handleDeadline(now: Instant, outputs: Output[]): readonly IpAddress[]
  deadline(): Instant | undefined
  views(): readonly NeighbourView[]
}

/** For people. */
export interface NeighbourView {
  readonly address: IpAddress
  readonly priority: number | undefined
}

export interface NeighbourParts {
  readonly interfaceName: string
  readonly priority: number
  readonly helloMs: number
  readonly random: Random
  say(message: PimHello, outputs: Output[]): void
}

interface Neighbour {
  readonly address: IpAddress
  generationId: number | undefined
  /** Undefined: it has said none. */
  priority: number | undefined
  delay: Extract<HelloOption, { kind: 'lan-prune-delay' }> | undefined
}

/** Choice: no LAN has more routers than this; what is beyond is not listened to. */
const MAXIMUM_NEIGHBOURS = 64
/** RFC 7761 §4.11, milliseconds. */
const TRIGGERED_HELLO_MS = 5000
const PROPAGATION_DELAY_MS = 500
const OVERRIDE_INTERVAL_MS = 2500
/** §4.11: Default_Hello_Holdtime is 3.5 Hello_Periods. */
const HOLDTIME_PERIODS = 3.5
/** §4.9.2: what never expires. */
const FOREVER_SECONDS = 0xffff
const OWN_HELLO = 'hello'

export function createPimNeighbours(parts: NeighbourParts): PimNeighbours {
  const { interfaceName, random } = parts
  const table = new Map<string, Neighbour>()
  const deadlines = createDeadlines()
  // §4.3.1: a new one at each start, by which others see that we have forgotten what they said.
  const generationId = Number(random.nonce() & 0xffff_ffffn)
  let saidHello = false

  function say(seconds: number, outputs: Output[]): void {
    const options: HelloOption[] = [
      { kind: 'holdtime', seconds },
      {
        kind: 'lan-prune-delay',
        trackingSupport: false,
        propagationDelay: PROPAGATION_DELAY_MS,
        overrideInterval: OVERRIDE_INTERVAL_MS,
      },
      { kind: 'dr-priority', priority: parts.priority },
      { kind: 'generation-id', id: generationId },
      { kind: 'join-attribute' },
    ]
    parts.say({ kind: 'pim-hello', options }, outputs)
  }

  function sayHello(now: Instant, outputs: Output[]): void {
    saidHello = true
    say(Math.min(Math.ceil((parts.helloMs * HOLDTIME_PERIODS) / 1000), FOREVER_SECONDS), outputs)
    deadlines.set(OWN_HELLO, now + parts.helloMs)
  }

  /** §4.3.1: whoever is new hears of us soon. */
  function hurry(now: Instant): void {
    const soon = now + random.fraction() * Math.min(TRIGGERED_HELLO_MS, parts.helloMs)
    const planned = deadlines.get(OWN_HELLO)
    if (planned === undefined || soon < planned) deadlines.set(OWN_HELLO, soon)
  }

  function forget(key: string, reason: string, outputs: Output[]): void {
    table.delete(key)
    deadlines.cancel(key)
    report(outputs, 'pim-neighbour-lost', 'notice', { reason, interfaceName, neighbour: key })
  }

  function handleHello(
    hello: PimHello,
    from: IpAddress,
    now: Instant,
    outputs: Output[],
  ): HelloEffect {
    const key = formatIpAddress(from)
    const said = saidBy(hello)
    const known = table.get(key)
    if (said.holdtime === 0) {
      if (known !== undefined) forget(key, 'goodbye', outputs)
      return 'gone'
    }
    if (known === undefined && table.size >= MAXIMUM_NEIGHBOURS) {
      const reason = 'too-many-neighbours'
      report(outputs, 'pim-ignored', 'notice', { reason, interfaceName, from: key })
      return 'refused'
    }
    table.set(key, { address: from, ...said })
    if (said.holdtime === FOREVER_SECONDS) deadlines.cancel(key)
    else deadlines.set(key, now + said.holdtime * 1000)
    if (known !== undefined && known.generationId === said.generationId) return 'known'
    hurry(now)
    report(outputs, 'pim-neighbour-found', 'notice', {
      reason: known === undefined ? 'new' : 'restarted',
      interfaceName,
      neighbour: key,
    })
    return known === undefined ? 'new' : 'restarted'
  }

  /** A value of the delay option that holds on the link: the largest, if all say one (§4.3.3). */
  function agreed(field: 'propagationDelay' | 'overrideInterval', standard: number): number {
    let largest = standard
    for (const { delay } of table.values()) {
      if (delay === undefined) return standard
      largest = Math.max(largest, delay[field])
    }
    return largest
  }

  const overrideIntervalMs = (): number => agreed('overrideInterval', OVERRIDE_INTERVAL_MS)
  return {
    start: hurry,
    handleHello,
    has: (address) => table.has(formatIpAddress(address)),
    get size() {
      return table.size
    },
    sayNow(now, outputs) {
      if (!saidHello) sayHello(now, outputs)
    },
    designatedRouter(own) {
      const all = [{ address: own, priority: parts.priority as number | undefined }]
      all.push(...table.values())
      const counts = all.every(({ priority }) => priority !== undefined)
      return all.reduce((best, one) => {
        const more = counts ? one.priority! - best.priority! : 0
        if (more !== 0) return more > 0 ? one : best
        return compareIpAddresses(one.address, best.address) > 0 ? one : best
      }).address
    },
    overrideMs: () => agreed('propagationDelay', PROPAGATION_DELAY_MS) + overrideIntervalMs(),
    overrideIntervalMs,
    // We do not track who joins ourselves, so that one who does never is alone (§4.3.3).
    maySuppress: () => true,
    leave(outputs) {
      if (saidHello) say(0, outputs)
      saidHello = false
    },
    handleDeadline(now, outputs) {
      const silent: IpAddress[] = []
      for (const key of deadlines.due(now)) {
        if (key === OWN_HELLO) {
          sayHello(now, outputs)
          continue
        }
        const neighbour = table.get(key)
        if (neighbour === undefined) continue
        forget(key, 'silent', outputs)
        silent.push(neighbour.address)
      }
      return silent
    },
    deadline: () => deadlines.next(),
    views: () => [...table.values()].map(({ address, priority }) => ({ address, priority })),
  }
}

/** §4.3.2: without a holdtime the default one holds; of options said twice the first counts. */
function saidBy({ options }: PimHello): Omit<Neighbour, 'address'> & { readonly holdtime: number } {
  const holdtime = options.find((one) => one.kind === 'holdtime')
  return {
    holdtime: holdtime?.seconds ?? DEFAULT_HOLDTIME_SECONDS,
    generationId: options.find((one) => one.kind === 'generation-id')?.id,
    priority: options.find((one) => one.kind === 'dr-priority')?.priority,
    delay: options.find((one) => one.kind === 'lan-prune-delay'),
  }
}

/** §4.11. */
const DEFAULT_HOLDTIME_SECONDS = 105
