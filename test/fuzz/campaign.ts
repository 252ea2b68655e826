/**
 * Feeds damaged inputs to a decoder and judges what comes out. For every input:
 *
 * - decoding does not throw and takes less than `SLOWEST_MS`;
 * - it reads nothing beyond the input: the same bytes elsewhere, between other neighbours, are the
 *   same value (this catches what `DataView` does not, reading on in a larger buffer);
 * - what was decoded encodes, and decodes to itself again.
 *
 * Every sixteenth input also goes through what else is done with decoded values, and is looked at
 * for having been changed. An input that seems slow by the clock is judged by the processor time of its
 * fastest repetition.
 */

import { MAX_INPUT_BYTES, mutate, type Seed } from './mutations.js'
import { createChance } from './random-bytes.js'

/** A decoder under test; `Value` is plain data. */
export interface Target<Value = unknown> {
  readonly name: string
  readonly seeds: readonly Seed[]
  /** Share of the inputs in a mixed run. */
  readonly weight: number
  /** Must not throw. `turn` differs between the two decodings of an input. */
  decode(bytes: Uint8Array, turn: number): Value
  /** Whether that is a value and no fault. */
  isDecoded(value: Value): boolean
  /** Bytes for the value, and what they should decode to; undefined where no encoder is. */
  encode?(value: Value): { readonly bytes: Uint8Array; readonly value: Value } | undefined
  /** Puts right what would stop every damaged input at once: checksums. */
  repair?(input: Uint8Array): void
  /** What else is done with a value: describing, verifying. Throws when something is wrong. */
  use?(value: Value, bytes: Uint8Array): void
}

export interface Finding {
  readonly target: string
  readonly oracle: 'throws' | 'slow' | 'reads-beyond' | 'not-frozen' | 'use' | 'changes-input'
  readonly detail: string
  readonly caseNumber: number
  readonly hex: string
}

export interface Tally {
  inputs: number
  decoded: number
  slowestMs: number
  findings: Finding[]
}

/** No input may take longer than this, in the fastest of `REPETITIONS`. */
export const SLOWEST_MS = 5
const REPETITIONS = 5
/** Enough to see what is wrong. */
const MAX_FINDINGS = 20
const MARGIN = 64

export interface Campaign {
  /** Runs cases `from` to `until`-1 of the target. */
  run(target: Target, from: number, until: number): void
  /** One input as it is, without mutation: a regression or a vector. */
  judge(target: Target, bytes: Uint8Array): Finding | undefined
  /** The input of a case. */
  input(target: Target, caseNumber: number): Uint8Array
  readonly tallies: ReadonlyMap<string, Tally>
}

export function createCampaign(seed: number): Campaign {
  const chance = createChance(seed, 0)
  const scratch = new Uint8Array(MAX_INPUT_BYTES + MARGIN)
  const first = new Uint8Array(MAX_INPUT_BYTES + 3 * MARGIN)
  const second = new Uint8Array(MAX_INPUT_BYTES + 3 * MARGIN)
  const tallies = new Map<string, Tally>()

  function tallyOf(target: Target): Tally {
    let tally = tallies.get(target.name)
    if (tally === undefined) {
      tally = { inputs: 0, decoded: 0, slowestMs: 0, findings: [] }
      tallies.set(target.name, tally)
    }
    return tally
  }

  function make(target: Target, caseNumber: number): Uint8Array {
    chance.restart(seed, caseNumber)
    const input = scratch.subarray(0, mutate(chance, target.seeds, scratch))
    if (target.repair !== undefined && chance.oneIn(2)) target.repair(input)
    return input
  }

  function judgeOne(
    target: Target,
    input: Uint8Array,
    caseNumber: number,
    tally: Tally,
    whole: boolean,
  ): Finding | undefined {
    const finding = (oracle: Finding['oracle'], detail: string): Finding => {
      const hex = Buffer.from(input).toString('hex')
      return { target: target.name, oracle, detail, caseNumber, hex }
    }
    const here = place(first, input, MARGIN + (caseNumber & 7), 0xff)
    const there = place(second, input, MARGIN + 8 + (caseNumber % 5), caseNumber & 1 ? 0x00 : 0x5a)
    tally.inputs += 1
    let oracle: Finding['oracle'] = 'throws'
    try {
      const started = performance.now()
      const value = target.decode(here, 0)
      const took = performance.now() - started
      if (took > tally.slowestMs || took > SLOWEST_MS) {
        const fastest = fastestOf(target, here, took, tally.slowestMs)
        tally.slowestMs = Math.max(tally.slowestMs, fastest)
        if (fastest > SLOWEST_MS) return finding('slow', `${fastest.toFixed(1)} ms`)
      }
      if (!same(value, target.decode(there, 1))) {
        return finding('reads-beyond', 'another value between other neighbours')
      }
      if (target.isDecoded(value)) {
        tally.decoded += 1
        oracle = 'not-frozen'
        const encoded = target.encode?.(value)
        if (encoded !== undefined && !same(target.decode(encoded.bytes, 0), encoded.value)) {
          return finding('not-frozen', 'encoded and decoded again it is another value')
        }
      }
      if (!whole) return undefined
      oracle = 'use'
      target.use?.(value, here)
      for (let at = 0; at < input.length; at += 1) {
        if (here[at] !== input[at]) return finding('changes-input', `at byte ${at}`)
      }
    } catch (error) {
      return finding(oracle, error instanceof Error ? String(error.stack) : String(error))
    }
    return undefined
  }

  return {
    run(target, from, until) {
      const tally = tallyOf(target)
      for (let caseNumber = from; caseNumber < until; caseNumber += 1) {
        const input = make(target, caseNumber)
        const found = judgeOne(target, input, caseNumber, tally, (caseNumber & 15) === 0)
        if (found !== undefined && tally.findings.length < MAX_FINDINGS) tally.findings.push(found)
      }
    },
    judge: (target, bytes) => judgeOne(target, bytes, 0, tallyOf(target), true),
    input: (target, caseNumber) => make(target, caseNumber).slice(),
    tallies,
  }
}

/** `input` at `offset` of a larger buffer, with other bytes around it. */
function place(
  buffer: Uint8Array,
  input: Uint8Array,
  offset: number,
  neighbour: number,
): Uint8Array {
  buffer.fill(neighbour, offset - 16, offset)
  buffer.set(input, offset)
  buffer.fill(neighbour, offset + input.length, offset + input.length + MARGIN)
  return buffer.subarray(offset, offset + input.length)
}

/**
 * Milliseconds of processor time: on a machine that others use, time passes without us. What turns
 * out not to take longer than `enough` is not measured further.
 */
function fastestOf(target: Target, input: Uint8Array, took: number, enough: number): number {
  let fastest = took
  for (let repetition = 0; repetition < REPETITIONS && fastest > enough; repetition += 1) {
    const started = process.cpuUsage()
    target.decode(input, 0)
    const { user, system } = process.cpuUsage(started)
    fastest = Math.min(fastest, (user + system) / 1000)
  }
  return fastest
}

/** Deep equality of plain data: numbers, strings, bytes, arrays, objects. */
export function same(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (typeof left !== 'object' || typeof right !== 'object') return false
  if (left === null || right === null) return false
  if (left instanceof Uint8Array) return right instanceof Uint8Array && sameBytes(left, right)
  if (Array.isArray(left)) {
    if (!Array.isArray(right) || left.length !== right.length) return false
    for (let index = 0; index < left.length; index += 1) {
      if (!same(left[index], right[index])) return false
    }
    return true
  }
  const one = left as Record<string, unknown>
  const other = right as Record<string, unknown>
  let fields = 0
  for (const name in one) {
    fields += 1
    if (!same(one[name], other[name])) return false
  }
  for (const _name in other) fields -= 1
  return fields === 0
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false
  for (let at = 0; at < left.length; at += 1) if (left[at] !== right[at]) return false
  return true
}

/**
 * A shorter input that the same oracle refuses: pieces are left out as long as it stays so. Judged
 * some hundred times, so only for reporting.
 */
export function shorten(campaign: Campaign, target: Target, finding: Finding): Uint8Array {
  let best: Uint8Array = new Uint8Array(Buffer.from(finding.hex, 'hex'))
  for (let size = best.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at + size <= best.length; ) {
      const without = new Uint8Array(best.length - size)
      without.set(best.subarray(0, at))
      without.set(best.subarray(at + size), at)
      if (campaign.judge(target, without)?.oracle === finding.oracle) best = without
      else at += size
    }
  }
  return best
}
