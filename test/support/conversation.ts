/**
 * One node to hold a literal conversation with: every call says the moment and what comes in, and
 * returns what came of it, decoded. What waits for the store is shown behind what was written, as if
 * the store were instant. `runUntil` lets every deadline come at its moment.
 */
import type { NodeConfig } from '../../src/config/node-config.js'
import type { Capabilities } from '../../src/control/capabilities.js'
import type { Command, CommandResult } from '../../src/control/command.js'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import type { DatapathOperation } from '../../src/control/datapath-operation.js'
import type { Event } from '../../src/control/event.js'
import type { Output } from '../../src/control/input-output.js'
import { createNode } from '../../src/control/node.js'
import type { RestoredState } from '../../src/control/restored-state.js'
import type { StoredRecord } from '../../src/control/stored-record.js'
import { formatIpAddress } from '../../src/lisp/address.js'
import { formatEid, formatEidPrefix } from '../../src/lisp/eid.js'
import {
  decodeMessage,
  encodeMessage,
  type MapRequest,
  type Message,
} from '../../src/lisp/message.js'
import { formatGroup } from '../../src/lisp/multicast/multicast-group.js'
import { anAddress, someCapabilities } from './builders.js'

export interface SentMessage {
  readonly at: number
  readonly from: string
  readonly to: string
  readonly toPort: number
  readonly bytes: Uint8Array
  readonly message: Message
  /** The message inside, when it is an Encapsulated Control Message. */
  readonly inner: Message | undefined
}

export interface Reaction {
  readonly at: number
  readonly sent: readonly SentMessage[]
  readonly events: readonly Event[]
  /** 'eid-arrived packet': name and reason. */
  readonly names: readonly string[]
  readonly operations: readonly DatapathOperation[]
  /** Operations in a few words: 'put-map-cache 10.2.0.0/16 forward 203.0.113.2 release 10.2.0.7'. */
  readonly words: readonly string[]
  readonly results: readonly { readonly commandId: string; readonly result: CommandResult }[]
  readonly written: readonly StoredRecord[]
}

export function createConversation(
  config: NodeConfig,
  restored: Partial<RestoredState> = {},
  seed = 1,
  able: Partial<Capabilities> = {},
) {
  const node = createNode(config, { ...someCapabilities(seed), ...able })
  let commands = 0
  const step = (at: number, action: (outputs: Output[]) => void): Reaction => {
    const outputs: Output[] = []
    action(outputs)
    return reactionOf(at, outputs)
  }
  const state = { records: [], localEids: [], mapCache: [], ...restored }
  const begun = step(0, (outputs) => node.handle({ kind: 'restored', state }, 0, outputs))
  return {
    node,
    /** What the start at moment 0 brought. */
    begun,
    message(at: number, from: string, message: Message, fromPort = 4342): Reaction {
      return this.bytes(at, from, encodeMessage(message), fromPort)
    },
    bytes(at: number, from: string, bytes: Uint8Array, fromPort = 4342): Reaction {
      const { family } = anAddress(from)
      const to = config.rlocs.find((one) => one.address.family === family)!.address
      const input = { kind: 'datagram', from: anAddress(from), fromPort, to, bytes } as const
      return step(at, (outputs) => node.handle(input, at, outputs))
    },
    /** `more`: further events of the same batch follow. */
    datapath(at: number, event: DatapathEvent, more = false): Reaction {
      const input = { kind: 'datapath', event, ...(more ? { more: true as const } : {}) } as const
      return step(at, (outputs) => node.handle(input, at, outputs))
    },
    command(at: number, command: Command): Reaction {
      commands += 1
      const input = { kind: 'command', commandId: `c${commands}`, command } as const
      return step(at, (outputs) => node.handle(input, at, outputs))
    },
    /** The next deadline, if it is not after `until`. */
    next(until: number): Reaction | undefined {
      const at = node.deadline()
      if (at === undefined || at > until) return undefined
      return step(at, (outputs) => node.handle({ kind: 'deadline' }, at, outputs))
    },
    runUntil(until: number): Reaction[] {
      const steps: Reaction[] = []
      for (let one = this.next(until); one !== undefined; one = this.next(until)) {
        if (steps.length > 5000) throw new Error('deadlines without end')
        steps.push(one)
      }
      return steps
    },
  }
}

/** All that was sent in these reactions, of one kind (also inside an ECM). */
export function sentOf(reactions: readonly Reaction[], kind: Message['kind']): SentMessage[] {
  return reactions.flatMap((one) =>
    one.sent.filter((each) => each.message.kind === kind || each.inner?.kind === kind),
  )
}

/** The Map-Requests among what was sent, out of their ECMs. */
export function requestsIn(reactions: readonly Reaction[]): MapRequest[] {
  return sentOf(reactions, 'map-request').map(({ inner, message }) => {
    const request = inner ?? message
    if (request.kind !== 'map-request') throw new Error('no Map-Request')
    return request
  })
}

export function namesOf(reactions: readonly Reaction[]): string[] {
  return reactions.flatMap((one) => one.names)
}

export function wordsOf(reactions: readonly Reaction[]): string[] {
  return reactions.flatMap((one) => one.words)
}

export function inWords(operation: DatapathOperation): string {
  switch (operation.kind) {
    case 'put-map-cache': {
      const rlocs = operation.encapsulations.map((one) => formatIpAddress(one.locator.rloc))
      return words(
        operation.kind,
        formatEidPrefix(operation.eidPrefix),
        operation.action,
        ...rlocs,
        ...released(operation.release),
      )
    }
    case 'put-local-eid': {
      const state = operation.dynamicPrefix ? 'prefix' : operation.state
      return words(
        operation.kind,
        formatEidPrefix(operation.eidPrefix),
        state,
        ...released(operation.release),
      )
    }
    case 'send-on-segment':
      return words(operation.kind, operation.interfaceName, operation.protocol)
    case 'delete-map-cache':
    case 'delete-local-eid':
    case 'query-usage':
      return words(operation.kind, formatEidPrefix(operation.eidPrefix))
    case 'put-mapping-facts': {
      const { mapVersion, statusBits, dropStale } = operation
      const version = mapVersion === undefined ? [] : [`version ${mapVersion}`]
      const bits = statusBits === undefined ? [] : [`bits ${statusBits}`]
      const about = [...version, ...bits, ...(dropStale ? ['drop-stale'] : [])]
      const eidPrefix = formatEidPrefix(operation.eidPrefix)
      return words(operation.kind, operation.side, eidPrefix, ...about)
    }
    case 'delete-mapping-facts':
      return words(operation.kind, operation.side, formatEidPrefix(operation.eidPrefix))
    case 'request-nonce-echo': {
      const nonce = operation.nonce === undefined ? 'no' : 'nonce'
      return words(operation.kind, formatIpAddress(operation.rloc), nonce)
    }
    case 'refuse-stale-version': {
      const refused = operation.refused ? 'refused' : 'accepted'
      const sender = formatIpAddress(operation.sender)
      return words(operation.kind, formatEidPrefix(operation.eidPrefix), sender, refused)
    }
    case 'drop-held':
      return words(operation.kind, formatEid(operation.eid), operation.reason)
    case 'put-replication': {
      const { group, copies, localInterfaces, level } = operation
      const to = copies.map(({ locator }) => formatIpAddress(locator.rloc))
      return words(operation.kind, formatGroup(group), `level ${level}`, ...to, ...localInterfaces)
    }
    case 'delete-replication':
    case 'query-replication':
      return words(operation.kind, formatGroup(operation.group))
    case 'announce-gateway':
    case 'solicit-endpoint':
      return words(operation.kind, formatEid(operation.eid), operation.interfaceName)
  }
}

function words(...parts: string[]): string {
  return parts.join(' ')
}

function released(eids: readonly Parameters<typeof formatEid>[0][]): string[] {
  return eids.length === 0 ? [] : ['release', ...eids.map(formatEid)]
}

function reactionOf(at: number, outputs: readonly Output[]): Reaction {
  const sent: SentMessage[] = []
  const events: Event[] = []
  const operations: DatapathOperation[] = []
  const results: { commandId: string; result: CommandResult }[] = []
  const written: StoredRecord[] = []
  const show = (output: Output): void => {
    if (output.kind === 'send') sent.push(shown(at, output))
    else if (output.kind === 'event') events.push(output.event)
    else if (output.kind === 'datapath') operations.push(output.operation)
    else if (output.kind === 'result') results.push(output)
    else {
      written.push(...output.records)
      output.then.forEach(show)
    }
  }
  outputs.forEach(show)
  const names = events.map(({ name, reason }) =>
    reason === undefined ? name : `${name} ${reason}`,
  )
  return { at, sent, events, names, operations, words: operations.map(inWords), results, written }
}

function shown(at: number, output: Extract<Output, { kind: 'send' }>): SentMessage {
  const message = decoded(output.bytes)
  return {
    at,
    from: formatIpAddress(output.from),
    to: formatIpAddress(output.to),
    toPort: output.toPort,
    bytes: output.bytes,
    message,
    inner: message.kind === 'encapsulated-control' ? decoded(message.message) : undefined,
  }
}

function decoded(bytes: Uint8Array): Message {
  const message = decodeMessage(bytes)
  if (message.kind === 'malformed') throw new Error(`malformed output: ${message.code}`)
  return message
}
