/**
 * What stands in a journal: one header, then one line per input of a node, each JSON.
 *
 * A line says when, what came in, which random numbers (and signatures) the node was given, which of its
 * MACs went over the wire anyway, and a hash of what it decided. Keys are not in it: the
 * configuration is written with every secret replaced, and a MAC only as far as it can be read on
 * the wire. Each line also carries a hash over all lines before it, so that damage is told apart
 * from another decision; it protects against accidents, not against a forger (who could compute it
 * as well).
 */
import { createHash } from 'node:crypto'
import type { NodeConfig } from '../config/node-config.js'
import type { Instant } from '../control/capabilities.js'
import type { Input, Output } from '../control/input-output.js'

export const JOURNAL_FORMAT = 1

export interface JournalHeader {
  readonly journal: 'godwit'
  readonly format: number
  /** Of the software that wrote it: another one may decide otherwise, rightly. */
  readonly version: string
  readonly node: string
  /** Wall-clock ms since 1970 at `startedNow`, for people. */
  readonly startedAt: number
  readonly startedNow: Instant
  /** Without secrets. */
  readonly config: NodeConfig
}

/** A nonce; a fraction or the time of day; a verdict over a signature; a signature. */
export type Draw = bigint | number | boolean | Uint8Array

export interface JournalStep {
  readonly now: Instant
  readonly input: Input
  /** What it was told by its capabilities, in order. */
  readonly draws: readonly Draw[]
  /** Which HMAC of this step, counted from 0, and the part of its result that was on the wire. */
  readonly macs: readonly (readonly [number, Uint8Array])[]
  readonly decided: string
  /** The outputs in a word each, for people. */
  readonly words: string
}

/** Why a journal ends before its node does. */
export interface JournalEnd {
  readonly end: 'full' | 'too-fast' | 'too-large' | 'stopped'
}

export type JournalLine =
  | { readonly kind: 'step'; readonly step: JournalStep }
  | { readonly kind: 'end'; readonly end: JournalEnd['end'] }
  | { readonly kind: 'damaged'; readonly why: string }

/** Text lines of a journal, in order; each line depends on those before. */
export interface JournalEncoder {
  header(header: JournalHeader): string
  step(step: JournalStep): string
  end(end: JournalEnd): string
}

export function createJournalEncoder(): JournalEncoder {
  let chain = ''
  const line = (body: string): string => {
    chain = linked(chain, body)
    return `${chain} ${body}\n`
  }
  return {
    header: (header) => line(encodeJson(header)),
    step: (step) => line(encodeJson(step, true)),
    end: (end) => line(encodeJson(end)),
  }
}

/** Reads a journal line by line; what cannot be read is `damaged`, and so is all that follows. */
export function createJournalDecoder(): {
  header(text: string): JournalHeader | undefined
  line(text: string): JournalLine
} {
  let chain = ''
  const open = (text: string): unknown => {
    const [mark, body] = [text.slice(0, CHAIN_DIGITS), text.slice(CHAIN_DIGITS + 1)]
    chain = linked(chain, body)
    return mark === chain ? decodeJson(body) : undefined
  }
  return {
    header(text) {
      const header = open(text) as Partial<JournalHeader> | undefined
      const isOurs = header?.journal === 'godwit' && header.format === JOURNAL_FORMAT
      return isOurs ? (header as JournalHeader) : undefined
    },
    line(text) {
      const value = open(text) as Partial<JournalStep & JournalEnd> | undefined
      if (value === undefined)
        return { kind: 'damaged', why: 'the line is not what was written, or one before it is not' }
      if (value.end !== undefined) return { kind: 'end', end: value.end }
      if (value.input === undefined || value.now === undefined)
        return { kind: 'damaged', why: 'the line is no step' }
      return { kind: 'step', step: value as JournalStep }
    },
  }
}

/** 16 hexadecimal digits over all outputs, in order, with all their bytes but those of secrets. */
export function decisionHash(outputs: readonly Output[]): string {
  return hashOf(encodeJson(outputs, true))
}

/** `send, datapath put-map-cache, event mapping-installed`. */
export function outputWords(outputs: readonly Output[]): string {
  return outputs.map(wordOf).join(', ')
}

function wordOf(output: Output): string {
  if (output.kind === 'datapath') return `datapath ${output.operation.kind}`
  if (output.kind === 'event') return `event ${output.event.name}`
  if (output.kind !== 'persist') return output.kind
  const then = output.then.map(wordOf).join(', ')
  return then === '' ? 'persist' : `persist then (${then})`
}

/**
 * The configuration with every secret replaced by a text of its own. What may stay of byte strings is
 * named, not what must go: a key that somebody adds later is hidden unless it is called an address.
 */
export function withoutSecrets(config: NodeConfig): NodeConfig {
  const known = new Map<string, Uint8Array>()
  const hide = (secret: Uint8Array): Uint8Array => {
    const key = Buffer.from(secret).toString('hex')
    const made = known.get(key) ?? new TextEncoder().encode(`secret ${known.size + 1}`)
    known.set(key, made)
    return made
  }
  const copy = (value: unknown, path: string): unknown => {
    if (value instanceof Uint8Array) return PUBLIC_BYTES.test(path) ? value : hide(value)
    if (typeof value === 'string' && SECRET_NAME.test(path)) return 'hidden'
    if (Array.isArray(value)) return value.map((one) => copy(one, path))
    if (typeof value !== 'object' || value === null) return value
    const entries = Object.entries(value)
    return Object.fromEntries(entries.map(([key, one]) => [key, copy(one, `${path}.${key}`)]))
  }
  return copy(config, '') as NodeConfig
}

/**
 * JSON with bytes, 64-bit numbers and infinities in it. With `hideSecrets` a field `secret` (the key of a
 * stored subscription, RFC 9437 §7.1) leaves nothing but its length.
 */
export function encodeJson(value: unknown, hideSecrets = false): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key, seen: unknown) {
    // The value itself: a Buffer's toJSON has been called on what is handed in.
    const raw = this[key]
    if (hideSecrets && key === 'secret' && raw instanceof Uint8Array) return { $hidden: raw.length }
    if (raw instanceof Uint8Array) return { $bytes: Buffer.from(raw).toString('base64') }
    if (typeof raw === 'bigint') return { $bigint: String(raw) }
    if (typeof raw === 'number' && !Number.isFinite(raw)) return { $number: String(raw) }
    return seen
  })
}

/** Undefined for what is no JSON. */
export function decodeJson(text: string): unknown {
  try {
    return JSON.parse(text, (_, value: unknown) => {
      if (typeof value !== 'object' || value === null) return value
      const { $bytes, $bigint, $number, $hidden } = value as Record<string, unknown>
      if (typeof $hidden === 'number') return new Uint8Array($hidden)
      if (typeof $bytes === 'string') return new Uint8Array(Buffer.from($bytes, 'base64'))
      if (typeof $bigint === 'string') return BigInt($bigint)
      if (typeof $number === 'string') return Number($number)
      return value
    })
  } catch {
    // SyntaxError, also of BigInt: the line was cut or changed.
    return undefined
  }
}

function linked(chain: string, body: string): string {
  return hashOf(`${chain} ${body}`)
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, CHAIN_DIGITS)
}

const CHAIN_DIGITS = 16
/** Byte strings of a configuration that are addresses, identities, and keys that are published. */
const PUBLIC_BYTES = /\.(bytes|xtrId|publicKey|rootKeys)$|^\.ddt\.delegations\.keys$/
const SECRET_NAME = /(secret|password|private)[^.]*$/i
