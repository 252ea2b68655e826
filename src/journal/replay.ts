/**
 * A journal run again: the same node from the same configuration, with the recorded inputs, moments,
 * numbers and MACs, must decide the same. The first difference ends it.
 *
 * HMACs that were not on the wire are computed with other keys than the node had: their results only
 * have to be unequal where they were unequal. Pure: text in, what happened out.
 */
import { createHmac } from 'node:crypto'
import type { Capabilities, Instant } from '../control/capabilities.js'
import type { Input, Node, Output } from '../control/input-output.js'
import { createNode } from '../control/node.js'
import { formatIpAddress } from '../lisp/address.js'
import { describeMessage } from '../lisp/describe.js'
import { formatEid, formatEidPrefix } from '../lisp/eid.js'
import { decodeMessage } from '../lisp/message.js'
import {
  createJournalDecoder,
  type Draw,
  decisionHash,
  type JournalEnd,
  type JournalHeader,
  type JournalStep,
  outputWords,
} from './journal-format.js'

export interface ReplayedStep {
  /** Line of the journal, from 2. */
  readonly line: number
  readonly now: Instant
  /** Wall-clock ms since 1970. */
  readonly at: number
  readonly input: string
  readonly decisions: readonly string[]
}

export interface Divergence {
  readonly line: number
  readonly now: Instant | undefined
  readonly why: string
  /** What the journal says was decided, what is decided now; in words. */
  readonly recorded: string | undefined
  readonly replayed: string | undefined
}

export interface ReplayResult {
  /** Undefined when the text is no journal of this format. */
  readonly header: JournalHeader | undefined
  readonly steps: number
  readonly divergence: Divergence | undefined
  /** How the journal ends: cut off when the daemon died while it wrote, or writes still. */
  readonly ending: JournalEnd['end'] | 'cut-off' | 'until'
}

/**
 * @param lines the text of the journal, line by line
 * @param options.untilMs ends after so many ms from the first line's moment
 */
export function replayJournal(
  lines: Iterable<string>,
  options: { readonly untilMs?: number; readonly onStep?: (step: ReplayedStep) => void } = {},
): ReplayResult {
  const decoder = createJournalDecoder()
  let header: JournalHeader | undefined
  let replay: Replay | undefined
  let [line, steps] = [0, 0]
  const ended = (
    ending: ReplayResult['ending'],
    divergence?: Omit<Divergence, 'line'>,
  ): ReplayResult => ({
    header,
    steps,
    divergence: divergence === undefined ? undefined : { line, ...divergence },
    ending,
  })
  for (const text of lines) {
    line += 1
    if (header === undefined) {
      header = decoder.header(text)
      if (header === undefined)
        return ended('cut-off', { now: undefined, why: NO_JOURNAL, ...NOTHING })
      replay = createReplay(header)
      continue
    }
    // The writer ends every line; a last one without an end was being written.
    if (text === '') continue
    const read = decoder.line(text)
    if (read.kind === 'end') return ended(read.end)
    if (read.kind === 'damaged')
      return ended('cut-off', { now: undefined, why: read.why, ...NOTHING })
    const { step } = read
    if (step.now - header.startedNow > (options.untilMs ?? Number.POSITIVE_INFINITY))
      return ended('until')
    const { outputs, failure } = replay!.perform(step)
    const at = header.startedAt + (step.now - header.startedNow)
    const decisions = outputs.flatMap(describeOutput)
    options.onStep?.({ line, now: step.now, at, input: describeInput(step.input), decisions })
    steps += 1
    if (failure !== undefined || decisionHash(outputs) !== step.decided) {
      const why = failure ?? 'the node decides otherwise'
      const replayed = outputWords(outputs)
      return ended('cut-off', { now: step.now, why, recorded: step.words, replayed })
    }
  }
  return ended('cut-off')
}

interface Replay {
  perform(step: JournalStep): { readonly outputs: Output[]; readonly failure: string | undefined }
}

function createReplay(header: JournalHeader): Replay {
  let step: JournalStep | undefined
  let [drawn, computed] = [0, 0]
  let node: Node | undefined
  const next = <T extends Draw>(is: (value: Draw | undefined) => value is T): T => {
    const value = step?.draws[drawn]
    drawn += 1
    if (!is(value)) throw new OtherDraw()
    return value
  }
  const capabilities: Capabilities = {
    random: { nonce: () => next(isNonce), fraction: () => next(isNumber) },
    signatures: {
      sign: () => next(isBytes),
      verify: () => next(isVerdict),
      unixSeconds: () => next(isNumber),
    },
    blockCipher: {
      encrypt: () => new Uint8Array(next(isBytes)),
      decrypt: () => new Uint8Array(next(isBytes)),
    },
    hmac(hash: 'sha1' | 'sha256', key: Uint8Array, data: Uint8Array): Uint8Array {
      const known = step?.macs.find(([index]) => index === computed)
      computed += 1
      const own = new Uint8Array(createHmac(hash, key).update(data).digest())
      if (known !== undefined) own.set(known[1].subarray(0, own.length))
      return own
    },
  }
  return {
    perform(taken) {
      step = taken
      drawn = 0
      computed = 0
      const outputs: Output[] = []
      try {
        node ??= createNode(header.config, capabilities)
        node.handle(taken.input, taken.now, outputs)
      } catch (cause) {
        if (!(cause instanceof OtherDraw)) throw cause
        return { outputs, failure: 'the node draws a number where it drew none, or another kind' }
      }
      const left = taken.draws.length - drawn
      const failure = left === 0 ? undefined : `the node draws ${left} numbers less`
      return { outputs, failure }
    },
  }
}

const isNonce = (value: Draw | undefined): value is bigint => typeof value === 'bigint'
const isNumber = (value: Draw | undefined): value is number => typeof value === 'number'
const isVerdict = (value: Draw | undefined): value is boolean => typeof value === 'boolean'
const isBytes = (value: Draw | undefined): value is Uint8Array => value instanceof Uint8Array

/** Ends a step of a node that wants another number than was recorded. */
class OtherDraw extends Error {}

function describeInput(input: Input): string {
  switch (input.kind) {
    case 'datagram': {
      const message = describeBytes(input.bytes)
      return `from ${formatIpAddress(input.from)}:${input.fromPort}: ${message}`
    }
    case 'datapath':
      return `datapath ${describeFields(input.event)}`
    case 'command':
      return `command ${input.commandId}: ${describeFields(input.command)}`
    case 'restored': {
      const { records, localEids, mapCache } = input.state
      const counts = `${records.length} records, ${localEids.length} local EIDs`
      return `start with ${counts}, ${mapCache.length} mappings`
    }
    case 'deadline':
      return 'a deadline has come'
  }
}

function describeOutput(output: Output): string[] {
  switch (output.kind) {
    case 'send':
      return [`send ${formatIpAddress(output.to)}:${output.toPort} ${describeBytes(output.bytes)}`]
    case 'datapath':
      return [`datapath ${describeFields(output.operation)}`]
    case 'persist': {
      const what = output.records.map(({ kind }) => kind).join(', ')
      return [`store ${what}`, ...output.then.flatMap(describeOutput).map((one) => `then ${one}`)]
    }
    case 'result': {
      const { result } = output
      return [`result of ${output.commandId}: ${result.ok ? 'done' : result.code}`]
    }
    case 'event':
      return [`event ${describeFields(output.event)}`]
  }
}

function describeBytes(bytes: Uint8Array): string {
  const message = decodeMessage(bytes)
  if (message.kind !== 'encapsulated-control') return describeMessage(message)
  return `encapsulated ${describeMessage(decodeMessage(message.message))}`
}

/** Kind or name first, then the rest in few words. */
function describeFields(value: object): string {
  const fields = Object.entries(value)
  const first = fields.filter(([key]) => key === 'kind' || key === 'name').map(([, one]) => one)
  const rest = fields
    .filter(([key, one]) => !['kind', 'name', 'severity'].includes(key) && one !== undefined)
    .map(([key, one]) => `${key}=${describeValue(one)}`)
  return [...first, ...rest].join(' ')
}

function describeValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(describeValue).join(', ')}]`
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (typeof value !== 'object' || value === null) return String(value)
  const known = value as Record<string, unknown>
  if (known['family'] !== undefined) return formatIpAddress(value as never)
  if (known['maskLength'] !== undefined) return formatEidPrefix(value as never)
  if (known['instanceId'] !== undefined && known['address'] !== undefined)
    return formatEid(value as never)
  if (known['rloc'] !== undefined) return describeValue(known['rloc'])
  if (known['locator'] !== undefined) return describeValue(known['locator'])
  return Object.values(known).map(describeValue).join(' ')
}

const NO_JOURNAL = 'the file does not begin like a journal of this format'
const NOTHING = { recorded: undefined, replayed: undefined }
