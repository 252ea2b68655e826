/**
 * Devices that the datapath makes for itself: the GRO veth pair and the VXLAN-GPE device.
 *
 * Both only make receiving faster (re-aggregation of TCP, super-packets of UDP). When one can not
 * be made the node works without it, and says so once. The hold TAP is made by the addon.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import type { DatapathLog } from './datapath-log.js'

export const HOLD_DEVICE = 'gw-hold'
export const GRO_ENTRY_DEVICE = 'gw-gro0'
export const GRO_EXIT_DEVICE = 'gw-gro1'
export const GPE_DEVICE = 'gw-gpe'

/**
 * A veth pair whose far end has GRO: TCP segments put in at the entry come out as super-packets.
 * `mtu` in bytes is that of the largest RLOC interface. False when it could not be made.
 */
export function makeGroPair(mtu: number, log: DatapathLog): boolean {
  const add = ['link', 'add', GRO_ENTRY_DEVICE, 'type', 'veth', 'peer', 'name', GRO_EXIT_DEVICE]
  if (!deviceExists(GRO_ENTRY_DEVICE) && !run('ip', add, log, 'gro-pair-failed')) return false
  for (const device of [GRO_ENTRY_DEVICE, GRO_EXIT_DEVICE]) keepKernelQuiet(device)
  const steps: readonly (readonly [string, readonly string[]])[] = [
    ['ip', ['link', 'set', 'dev', GRO_ENTRY_DEVICE, 'mtu', String(mtu), 'up']],
    ['ip', ['link', 'set', 'dev', GRO_EXIT_DEVICE, 'mtu', String(mtu), 'up']],
    // Without TSO on the entry a super-packet would be cut and re-aggregated for nothing.
    ['ethtool', ['-K', GRO_ENTRY_DEVICE, 'tso', 'off']],
    ['ethtool', ['-K', GRO_EXIT_DEVICE, 'gro', 'on']],
  ]
  const made = steps.every(([command, words]) => run(command, words, log, 'gro-pair-failed'))
  if (!made) removeDevice(GRO_ENTRY_DEVICE)
  return made
}

/** A VXLAN-GPE device on port 4341 that decapsulates UDP super-packets. False when impossible. */
export function makeGpeDevice(mtu: number, log: DatapathLog): boolean {
  const kind = 'type vxlan gpe external dstport 4341 nolearning udp6zerocsumrx udp6zerocsumtx'
  const add = ['link', 'add', GPE_DEVICE, ...kind.split(' ')]
  if (!deviceExists(GPE_DEVICE) && !run('ip', add, log, 'gpe-device-failed')) return false
  keepKernelQuiet(GPE_DEVICE)
  const steps: readonly (readonly [string, readonly string[]])[] = [
    // What comes out is as large as it gets: looking for more to join costs time (native/README.md).
    ['ethtool', ['-K', GPE_DEVICE, 'gro', 'off']],
    ['ip', ['link', 'set', 'dev', GPE_DEVICE, 'mtu', String(mtu), 'up']],
  ]
  const made = steps.every(([command, words]) => run(command, words, log, 'gpe-device-failed'))
  if (!made) removeDevice(GPE_DEVICE)
  return made
}

/**
 * Tell a bridge that a multicast router is here (multicast_router 2), so that its snooping keeps
 * neither reports nor groups from us whoever is querier; and that its own queries, should it send any,
 * shall be of the newest versions: by default they are of IGMPv2 and MLDv1, and keep hosts from naming
 * sources for minutes. Returns what puts it back; undefined for a device that is no bridge.
 */
export function markAsRouter(name: string, log: DatapathLog): (() => void) | undefined {
  const show = ['-d', '-j', 'link', 'show', 'dev', name]
  const { stdout } = spawnSync('ip', show, { encoding: 'utf8' })
  if (!/"info_kind":"bridge"/.test(stdout ?? '')) return undefined
  const wanted = { mcast_router: 2, mcast_igmp_version: 3, mcast_mld_version: 2 }
  const before: string[] = []
  const after: string[] = []
  for (const [key, value] of Object.entries(wanted)) {
    const known = new RegExp(`"${key}":(\\d)`).exec(stdout ?? '')?.[1]
    if (known === undefined) continue
    before.push(key, known)
    after.push(key, String(value))
  }
  const set = ['link', 'set', 'dev', name, 'type', 'bridge']
  if (after.length === 0 || !run('ip', [...set, ...after], log, 'bridge-router-failed'))
    return undefined
  return () => {
    if (deviceExists(name)) run('ip', [...set, ...before], log, 'bridge-router-failed')
  }
}

/** Removing what is not there is not an error. */
export function removeDevice(name: string): void {
  if (deviceExists(name)) spawnSync('ip', ['link', 'del', 'dev', name], { stdio: 'ignore' })
}

/**
 * Index of a device of this network namespace, 0 when there is none. Asked of `ip`, because /sys
 * shows the namespace in which it was mounted, not that of a process started by `nsenter --net`.
 */
export function deviceIndex(name: string): number {
  const { stdout } = spawnSync('ip', ['-o', 'link', 'show', 'dev', name], { encoding: 'utf8' })
  return Number(/^(\d+):/.exec(stdout ?? '')?.[1] ?? 0)
}

function deviceExists(name: string): boolean {
  return deviceIndex(name) !== 0
}

/** The kernel itself shall send nothing (router solicitations, MLD) and drop nothing here. */
function keepKernelQuiet(device: string): void {
  writeSysctl(`net/ipv6/conf/${device}/disable_ipv6`, '1')
  writeSysctl(`net/ipv4/conf/${device}/rp_filter`, '0')
}

function writeSysctl(path: string, value: string): void {
  const file = `/proc/sys/${path}`
  // Absent when IPv6 is compiled out; then there is nothing to keep quiet.
  if (existsSync(file)) writeFileSync(file, value)
}

function run(
  command: string,
  words: readonly string[],
  log: DatapathLog,
  failure: string,
): boolean {
  const result = spawnSync(command, words, { encoding: 'utf8' })
  if (result.status === 0) return true
  const why = result.error?.message ?? result.stderr.trim()
  log('warning', failure, { command: [command, ...words].join(' '), why })
  return false
}
