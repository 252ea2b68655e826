/**
 * What the tests of the native addon share: a network and mount namespace that vanishes with the
 * process, the fixture object, and the interfaces of the drawing in native-hold.test.ts.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import {
  loadNativeAddon,
  type NativeAddon,
  type NativeHandle,
} from '../../src/datapath/native-addon.js'

const INSIDE = 'GODWIT_TEST_INSIDE_NAMESPACE'
export const ADDON_BUILD = join(
  dirname(fileURLToPath(import.meta.url)),
  '../../../build/native/fixtures',
)
export const FIXTURE = join(ADDON_BUILD, 'addon_fixture.bpf.o')
export const addon: NativeAddon = loadNativeAddon()

/** True in the process that `runInsideNamespace` starts. */
export const isInsideNamespace = process.env[INSIDE] !== undefined

/** Run this very test file again, in new network and mount namespaces; skipped without root. */
export function runInsideNamespace(file: string): void {
  if (process.getuid?.() !== 0) {
    t.test('inside a namespace', { skip: 'needs root: BPF, TAP and namespaces' }, () => {})
    return
  }
  const command = ['--net', '--mount', process.execPath, file]
  t.spawn('unshare', command, { env: { ...process.env, [INSIDE]: '1' } }, 'inside a namespace')
}

/** Links `source`–`in` and `sink`–`far`, hosts 10.9.0.2 to .9 behind `source`, and a bpffs: its path. */
export function prepareNamespace(): string {
  const pins = mkdtempSync(join(tmpdir(), 'godwit-bpffs-'))
  execFileSync('mount', ['-t', 'bpf', 'bpf', pins])
  process.once('exit', () => {
    execFileSync('umount', [pins])
    rmSync(pins, { recursive: true })
  })
  ip('link set dev lo up')
  ip('link add source type veth peer name in')
  ip('link add sink type veth peer name far')
  for (const device of ['source', 'in', 'sink', 'far']) {
    ip(`link set dev ${device} addrgenmode none`)
    ip(`link set dev ${device} up`)
  }
  ip('addr add 10.9.0.1/24 dev source')
  for (let host = 2; host < 10; host++)
    ip(`neigh add 10.9.0.${host} lladdr 02:00:00:00:00:99 dev source`)
  return pins
}

export function openFixture(
  pinDirectory: string,
  more: Record<string, unknown> = {},
): NativeHandle {
  return addon.openObject('fixture', { pinDirectory, bytes: readFileSync(FIXTURE), ...more })
}

export function interfaceIndex(name: string): number {
  return Number(
    /^\d+/.exec(execFileSync('ip', ['-o', 'link', 'show', 'dev', name]).toString())?.[0],
  )
}

export function ip(words: string): void {
  execFileSync('ip', words.split(' '))
}

export function u32(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer)
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i)
}
