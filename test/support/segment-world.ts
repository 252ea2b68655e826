/**
 * One segment in virtual time, for tests of IGMP and MLD: messages in as bytes, queries out as values, and
 * the names that the rest of the xTR believes to be joined, kept as it keeps them.
 */
import type { Event } from '../../src/control/event.js'
import type { Output } from '../../src/control/input-output.js'
import {
  createSegmentMembership,
  type SegmentOptions,
  type SegmentPacketEvent,
} from '../../src/control/multicast/segment-membership.js'
import { formatIpAddress } from '../../src/lisp/address.js'
import { decodeIgmp, encodeIgmp } from '../../src/lisp/multicast/igmp.js'
import type {
  GroupRecordType,
  MembershipMessage,
  MembershipQuery,
} from '../../src/lisp/multicast/membership.js'
import { decodeMld, encodeMld } from '../../src/lisp/multicast/mld.js'
import { formatGroup } from '../../src/lisp/multicast/multicast-group.js'
import { aMembershipPolicy, anAddress } from './builders.js'

/** `type group source …` */
export type RecordText = string

export interface SentQuery {
  readonly at: number
  readonly query: MembershipQuery
  /** `general`, or group and sources; ` S` when it suppresses. */
  readonly text: string
  readonly to: string
  readonly mac: string | undefined
}

const TYPES: Record<string, GroupRecordType> = {
  IS_IN: 'mode-is-include',
  IS_EX: 'mode-is-exclude',
  TO_IN: 'change-to-include',
  TO_EX: 'change-to-exclude',
  ALLOW: 'allow-new-sources',
  BLOCK: 'block-old-sources',
}

export function aSegment(about: Partial<SegmentOptions> & { readonly own?: string } = {}) {
  const { own, ...options } = about
  const family = options.family ?? 4
  const protocol = family === 4 ? 'igmp' : 'mld'
  const joined = new Map<string, string>()
  /** Every change, as `+name host`. */
  const changes: string[] = []
  const queriers: string[] = []
  const events: Event[] = []
  const sent: SentQuery[] = []
  let now = 0
  const { enabled: _enabled, igmpVersion, mldVersion, ...policy } = aMembershipPolicy()
  const segment = createSegmentMembership(
    {
      ...policy,
      interfaceName: 'site',
      instanceId: 0,
      version: family === 4 ? igmpVersion : mldVersion,
      ...options,
      family,
    },
    {
      changed(kind, group, host) {
        const text = `${formatGroup(group)} ${host === undefined ? '-' : formatIpAddress(host)}`
        const isJoin = kind === 'group-joined'
        if (isJoin === joined.has(text)) throw new Error(`${kind} twice: ${text}`)
        if (isJoin) joined.set(text, formatGroup(group))
        else joined.delete(text)
        changes.push(`${isJoin ? '+' : '-'}${text}`)
      },
      querierChanged(elected, isOurs) {
        queriers.push(isOurs ? 'ours' : elected === undefined ? 'nobody' : formatIpAddress(elected))
      },
    },
  )

  function take(outputs: readonly Output[]): void {
    for (const output of outputs) {
      if (output.kind === 'event') events.push(output.event)
      if (output.kind !== 'datapath' || output.operation.kind !== 'send-on-segment') continue
      const { payload, source, destination, mac } = output.operation
      const query =
        protocol === 'igmp' ? decodeIgmp(payload) : decodeMld(payload, { source, destination })
      if (query.kind !== 'membership-query') throw new Error(`sent ${JSON.stringify(query)}`)
      const isGeneral = query.group.bytes.every((byte) => byte === 0)
      const sources = (query.sourceTerms?.sources ?? []).map(formatIpAddress)
      const suppress = query.sourceTerms?.suppressRouterProcessing ? ['S'] : []
      const words = [isGeneral ? 'general' : formatIpAddress(query.group), ...sources, ...suppress]
      const to = formatIpAddress(destination)
      const hex = mac && Buffer.from(mac).toString('hex')
      sent.push({ at: now, query, text: words.join(' '), to, mac: hex })
    }
  }

  function act(step: (outputs: Output[]) => void): void {
    const outputs: Output[] = []
    step(outputs)
    take(outputs)
  }

  function macOf(host: string): Uint8Array {
    const { bytes } = anAddress(host)
    return Uint8Array.of(2, 0, ...bytes.subarray(-4))
  }

  function receive(message: MembershipMessage, from: string, more: object = {}): void {
    const source = anAddress(from)
    const destination = anAddress(family === 4 ? '224.0.0.22' : 'ff02::16')
    const payload =
      protocol === 'igmp' ? encodeIgmp(message) : encodeMld(message, { source, destination })
    receiveBytes(payload, from, more)
  }

  function receiveBytes(payload: Uint8Array, from: string, more: object = {}): void {
    const packet: SegmentPacketEvent = {
      ...{ kind: 'segment-packet', interfaceName: 'site', protocol, mac: macOf(from) },
      ...{ source: anAddress(from), hopLimit: 1, routerAlert: true, payload },
      destination: anAddress(family === 4 ? '224.0.0.22' : 'ff02::16'),
      ...more,
    }
    act((outputs) => segment.receive(packet, now, outputs))
  }

  function run(ms: number): void {
    const until = now + ms
    for (let steps = 0; ; steps += 1) {
      if (steps > 100_000) throw new Error('deadlines without end')
      const next = segment.deadline()
      if (next === undefined || next > until) break
      now = Math.max(now, next)
      act((outputs) => segment.handleDeadline(now, outputs))
    }
    now = until
  }

  const address = anAddress(own ?? (family === 4 ? '10.0.0.5' : 'fe80::5'))
  if (own !== 'none') act((outputs) => segment.setAddress(address, now, outputs))

  return {
    ...{ segment, sent, events, changes, queriers, run, receive, receiveBytes, act },
    now: () => now,
    /** A report of the newest version. */
    report(from: string, ...records: readonly RecordText[]): void {
      receive(
        {
          kind: 'source-membership-report',
          protocol,
          records: records.map((text) => {
            const [type, group, ...sources] = text.split(' ')
            return {
              type: TYPES[type!]!,
              group: anAddress(group!),
              sources: sources.map(anAddress),
            }
          }),
        },
        from,
      )
    },
    older(from: string, group: string, version: 1 | 2): void {
      receive({ kind: 'membership-report', protocol, version, group: anAddress(group) }, from)
    },
    leave(from: string, group: string): void {
      receive({ kind: 'membership-leave', protocol, group: anAddress(group) }, from)
    },
    query(from: string, about: Partial<MembershipQuery> = {}): void {
      const terms = {
        ...{ suppressRouterProcessing: false, robustness: 2, queryIntervalCode: 125, sources: [] },
      }
      const version = family === 4 ? 3 : 2
      const group = anAddress(family === 4 ? '0.0.0.0' : '::')
      const base = { kind: 'membership-query', protocol, version, maxResponseCode: 10 } as const
      receive({ ...base, group, sourceTerms: terms, ...about }, from)
    },
    /** Names without their hosts, each once. */
    joined: (): string[] => [...new Set(joined.values())].sort(),
    owed: (): string[] => [...joined.keys()].sort(),
    /** What was sent since the last call. */
    asked: (): string[] => sent.splice(0).map(({ text }) => text),
    reasons: (): string[] =>
      events
        .splice(0)
        .flatMap(({ name, reason }) => (reason === undefined ? [] : `${name} ${reason}`)),
  }
}
