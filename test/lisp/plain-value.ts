/**
 * Messages as plain JSON, the form in which the vector files hold them, and the vector files
 * themselves. Addresses, EIDs and prefixes are their canonical text, a locator is
 * `192.0.2.1 1/100 255/0 L-R`, 64-bit numbers are `0x…`, bytes are hexadecimal, undefined is
 * absent.
 */
import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatIpAddress, type IpAddress } from '../../src/lisp/address.js'
import type { Hmac } from '../../src/lisp/authentication.js'
import { type EidPrefix, formatEid, formatEidPrefix } from '../../src/lisp/eid.js'
import type { Locator } from '../../src/lisp/locator.js'

export interface MessageVector {
  readonly name: string
  readonly hex: string
  readonly value: unknown
  readonly source: string
  /** False when encoding the value gives other bytes: reserved bits, left out addresses. */
  readonly canonical?: boolean
}

export interface MalformedVector {
  readonly name: string
  readonly hex: string
  readonly expect: { readonly code: string; readonly offset: number }
  readonly source: string
}

export const nodeHmac: Hmac = (hash, key, data) =>
  new Uint8Array(createHmac(hash, key).update(data).digest())

export function loadVectors<T>(file: string): T {
  const folder = join(import.meta.dirname, '../../../test/lisp/vectors')
  return JSON.parse(readFileSync(join(folder, file), 'utf8')) as T
}

export function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'))
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

export function plainValue(value: unknown): unknown {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`
  if (value instanceof Uint8Array) return hexOf(value)
  if (Array.isArray(value)) return value.map(plainValue)
  if (typeof value !== 'object' || value === null) return value
  if ('family' in value) return formatIpAddress(value as IpAddress)
  if ('kind' in value && value.kind === 'ip' && 'address' in value) return plainValue(value.address)
  if ('rloc' in value && 'priority' in value) return locatorText(value as Locator)
  if ('kind' in value || 'structure' in value || 'eid' in value) return plainFields(value)
  const others = ['level', 'strict', 'attributes']
  if (others.some((name) => name in value)) return plainFields(value)
  if ('maskLength' in value) return formatEidPrefix(value as EidPrefix)
  if ('address' in value) return formatEid(value as EidPrefix)
  return plainFields(value)
}

function plainFields(value: object): unknown {
  const entries = Object.entries(value).filter(([, field]) => field !== undefined)
  return Object.fromEntries(entries.map(([name, field]) => [name, plainValue(field)]))
}

function locatorText(value: Locator): unknown {
  const text = termsText(value)
  return value.structure === undefined ? text : [text, plainValue(value.structure)]
}

function termsText(value: Locator): string {
  const flags = [value.local ? 'L' : '-', value.probe ? 'p' : '-', value.reachable ? 'R' : '-']
  const unicast = `${value.priority}/${value.weight}`
  const multicast = `${value.multicastPriority}/${value.multicastWeight}`
  return `${formatIpAddress(value.rloc)} ${unicast} ${multicast} ${flags.join('')}`
}
