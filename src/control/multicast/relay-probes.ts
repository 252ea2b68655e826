/**
 * Whether the relays of groups can be reached: RLOC-probing by the Map-Server (RFC 9301 §7.1).
 *
 * The Map-Server hangs receivers below relays, so it must know when one has died: its registration lasts
 * for minutes, and whoever hangs below it gets nothing meanwhile. Every relay is probed every 2 s, about
 * 0/0 of an instance that it offers itself for; after five probes a second apart it is silent, and not
 * before, because a daemon that is started again is back by then, and its kernel has copied on meanwhile.
 * One that has never answered is not judged: it may be of a kind that does not. Our choice: sources
 * could probe as well, but each of them, and only the Map-Server knows who hangs below.
 * Not found: a relay that answers us and yet forwards nothing.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress, ipAddress } from '../../lisp/address.js'
import type { Rloc } from '../../lisp/locator.js'
import { encodeMessage, type MapReply } from '../../lisp/message.js'
import type { Instant, Random } from '../capabilities.js'
import { sendControl } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { mapRequest } from '../itr/map-request-form.js'
import { report } from '../outputs.js'

export interface RelayProbes {
  /** Probe this relay from now on; again for a further instance or a new address. */
  watch(relay: WatchedRelay, instanceId: number, now: Instant): void
  /** It does not offer itself for this instance any more. */
  forget(owner: string, instanceId: number): void
  /** It has answered before and does not now. */
  isSilent(owner: string): boolean
  /** True when the reply answers a probe of ours. */
  handleReply(reply: MapReply, now: Instant, outputs: Output[]): boolean
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

export interface WatchedRelay {
  /** xTR-ID. */
  readonly owner: string
  readonly target: Rloc
}

export interface RelayProbeHooks {
  /** `relay` is silent now, or answers again. */
  changed(relay: { readonly instanceIds: ReadonlySet<number> }): void
}

interface Probed {
  readonly owner: string
  target: Rloc
  readonly instanceIds: Set<number>
  nonce: bigint | undefined
  missed: number
  state: 'never-heard' | 'answers' | 'silent'
}

const PROBE_MS = 2000
const RETRY_MS = 1000
const SILENT_AFTER = 5
/** Relays do not march in step. */
const JITTER = 0.25
/** As many as there can be of an instance; more are used unprobed. */
const MAXIMUM_PROBED = 4096

export function createRelayProbes(
  config: NodeConfig,
  random: Random,
  hooks: RelayProbeHooks,
): RelayProbes {
  const { enabled } = config.rlocProbe
  const table = new Map<string, Probed>()
  const byNonce = new Map<bigint, Probed>()
  const deadlines = createDeadlines()

  function wait(one: Probed, now: Instant): void {
    const factor = 1 - JITTER + 2 * JITTER * random.fraction()
    deadlines.set(one.owner, now + PROBE_MS * factor)
  }

  function give(one: Probed): void {
    if (one.nonce !== undefined) byNonce.delete(one.nonce)
    one.nonce = undefined
  }

  function probe(one: Probed, now: Instant, outputs: Output[]): void {
    const [instanceId = 0] = one.instanceIds
    const everything = { instanceId, address: ANYWHERE[one.target.family], maskLength: 0 }
    one.nonce = random.nonce()
    byNonce.set(one.nonce, one)
    const request = mapRequest(config, everything, one.nonce, { rlocProbe: true })
    sendControl(config, one.target, encodeMessage(request), outputs)
    deadlines.set(one.owner, now + RETRY_MS)
  }

  function become(one: Probed, state: 'answers' | 'silent', outputs: Output[]): void {
    const before = one.state
    one.state = state
    if (before === state || (before === 'never-heard' && state === 'answers')) return
    const isSilent = state === 'silent'
    report(outputs, isSilent ? 'relay-silent' : 'relay-answers', isSilent ? 'warning' : 'notice', {
      owner: one.owner,
      rloc: formatIpAddress(one.target),
    })
    hooks.changed(one)
  }

  function takeTurn(one: Probed, now: Instant, outputs: Output[]): void {
    if (one.nonce !== undefined) {
      give(one)
      one.missed += 1
      if (one.missed >= SILENT_AFTER) {
        if (one.state !== 'never-heard') become(one, 'silent', outputs)
        wait(one, now)
        return
      }
    }
    probe(one, now, outputs)
  }

  return {
    watch({ owner, target }, instanceId, now) {
      if (!enabled) return
      const known = table.get(owner)
      if (known !== undefined) {
        known.instanceIds.add(instanceId)
        known.target = target
        return
      }
      if (table.size >= MAXIMUM_PROBED) return
      const instanceIds = new Set([instanceId])
      const one: Probed = {
        ...{ owner, target, instanceIds, nonce: undefined, missed: 0, state: 'never-heard' },
      }
      table.set(owner, one)
      deadlines.set(owner, now + RETRY_MS * random.fraction())
    },
    forget(owner, instanceId) {
      const one = table.get(owner)
      if (one === undefined) return
      one.instanceIds.delete(instanceId)
      if (one.instanceIds.size > 0) return
      give(one)
      table.delete(owner)
      deadlines.cancel(owner)
    },
    isSilent: (owner) => table.get(owner)?.state === 'silent',
    handleReply(reply, now, outputs) {
      const one = reply.rlocProbe ? byNonce.get(reply.nonce) : undefined
      if (one === undefined) return false
      give(one)
      one.missed = 0
      become(one, 'answers', outputs)
      wait(one, now)
      return true
    },
    handleDeadline(now, outputs) {
      for (const owner of deadlines.due(now)) {
        const one = table.get(owner)
        if (one !== undefined) takeTurn(one, now, outputs)
      }
    },
    deadline: () => deadlines.next(),
  }
}

const ANYWHERE = { 4: ipAddress(new Uint8Array(4)), 6: ipAddress(new Uint8Array(16)) } as const
