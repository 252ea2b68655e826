/**
 * The patch panel: where an endpoint is plugged in, with a leg to each cloud.
 *
 * A small BPF program forwards frames between the port and the active leg and counts what it
 * refuses. Switching is one map write, in both directions at once, without a link going down:
 * moving a veth between namespaces takes 23-45 ms instead (measured) and loses packets that no
 * protocol could save.
 */
import { join } from 'node:path'
import type { Topology } from '../config/topology-schema.js'
import { loadNativeAddon, type NativeAddon, type NativeHandle } from '../datapath/native-addon.js'
import { compiledFile, labPaths, namespaceFile, namespaceOf } from './names.js'
import { runProgram } from './network.js'

export interface PanelControl {
  /** The node that the endpoint is connected to, undefined while the panel is blocked. */
  active(): string | undefined
  /** Connects the endpoint to `node`; one map write. */
  flip(node: string): void
  /** Closes both directions: a cable pulled out. */
  block(): void
  counters(): PanelCounters
  close(): void
}

/** Frames that passed between the endpoint and one node, and those refused because not active. */
export interface LegCounters {
  readonly forwardedUp: number
  readonly forwardedDown: number
  readonly dropped: number
}

export type PanelCounters = Readonly<Record<string, LegCounters>>

/** What the set-up process is told on its command line, as JSON. */
export interface PanelSetup {
  readonly pinDirectory: string
  readonly port: number
  readonly legs: readonly number[]
  readonly active: number
}

/** Opens the panel of that name for switching; the panel must have been set up. */
export function openPanel(
  topology: Topology,
  panel: string,
  addon: NativeAddon = loadNativeAddon(),
): PanelControl {
  const nodes = Object.keys(topology.topology.nodes[panel]!.panel!.legs)
  const object = addon.openObject('panel', { pinDirectory: panelPins(topology.name, panel) })
  const write = (leg: number): void => writeActive(addon, object, leg)
  return {
    active: () => nodes[readState(addon, object).getUint32(STATE_ACTIVE_UP, true)],
    flip(node) {
      const leg = nodes.indexOf(node)
      if (leg < 0) throw new Error(`${panel} has no leg to ${node}; it has ${nodes.join(', ')}`)
      write(leg)
    },
    block: () => write(NO_LEG),
    counters: () => readCounters(addon, object, nodes),
    close: () => addon.closeObject(object),
  }
}

/** Sets up every panel of a topology: one process each, inside the panel's namespace. */
export async function setUpPanels(topology: Topology): Promise<void> {
  const panels = Object.entries(topology.topology.nodes).filter(([, node]) => node.panel)
  await Promise.all(
    panels.map(async ([name, { panel }]) => {
      const legs = Object.entries(panel!.legs)
      const indexes = await interfaceIndexes(namespaceOf(topology.name, name))
      const setup: PanelSetup = {
        pinDirectory: panelPins(topology.name, name),
        port: indexes.get(panel!.port)!,
        legs: legs.map(([, interfaceName]) => indexes.get(interfaceName)!),
        active: legs.findIndex(([node]) => node === panel!.active),
      }
      await runProgram('nsenter', [
        `--net=${namespaceFile(topology.name, name)}`,
        process.execPath,
        compiledFile('./panel-setup.js'),
        JSON.stringify(setup),
      ])
    }),
  )
}

/** Attaches the programs of a panel to interfaces of the current network namespace. */
export function attachPanel(setup: PanelSetup): void {
  const addon = loadNativeAddon()
  const object = addon.openObject('panel', { pinDirectory: setup.pinDirectory })
  const state = new DataView(new ArrayBuffer(STATE_BYTES))
  state.setUint32(STATE_PORT, setup.port, true)
  state.setUint32(STATE_ACTIVE_UP, setup.active, true)
  state.setUint32(STATE_ACTIVE_DOWN, setup.active, true)
  state.setUint32(STATE_LEG_COUNT, setup.legs.length, true)
  setup.legs.forEach((leg, index) => {
    state.setUint32(STATE_LEGS + 4 * index, leg, true)
  })
  addon.updateMap(object, 'panel_state', STATE_KEY, new Uint8Array(state.buffer))
  for (const leg of setup.legs) addon.attach(object, 'panel_leg', leg, 'ingress')
  addon.attach(object, 'panel_port', setup.port, 'ingress')
  addon.closeObject(object)
}

/** Connects the panel whose maps are pinned in `pinDirectory` to the leg of that index. */
export function switchPanel(pinDirectory: string, leg: number): void {
  const addon = loadNativeAddon()
  const object = addon.openObject('panel', { pinDirectory })
  writeActive(addon, object, leg)
  addon.closeObject(object)
}

/** Per node; a per-CPU map gives the values of all CPUs one after another. */
function readCounters(
  addon: NativeAddon,
  object: NativeHandle,
  nodes: readonly string[],
): PanelCounters {
  const entries = nodes.map((node, index): [string, LegCounters] => {
    const key = new Uint8Array(new Uint32Array([index]).buffer)
    const value = addon.lookupMap(object, 'panel_counters', key) ?? new Uint8Array()
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
    const sums = [0, 0, 0]
    for (let at = 0; at + COUNTER_BYTES <= view.byteLength; at += COUNTER_BYTES) {
      for (let field = 0; field < sums.length; field++) {
        sums[field]! += Number(view.getBigUint64(at + 8 * field, true))
      }
    }
    const [forwardedUp = 0, forwardedDown = 0, dropped = 0] = sums
    return [node, { forwardedUp, forwardedDown, dropped }]
  })
  return Object.fromEntries(entries)
}

function readState(addon: NativeAddon, object: NativeHandle): DataView {
  const value = addon.lookupMap(object, 'panel_state', STATE_KEY)
  if (value === undefined) throw new Error('the panel has no state')
  return new DataView(value.buffer, value.byteOffset, value.byteLength)
}

function writeActive(addon: NativeAddon, object: NativeHandle, leg: number): void {
  const state = readState(addon, object)
  state.setUint32(STATE_ACTIVE_UP, leg, true)
  state.setUint32(STATE_ACTIVE_DOWN, leg, true)
  const bytes = new Uint8Array(state.buffer, state.byteOffset, state.byteLength)
  addon.updateMap(object, 'panel_state', STATE_KEY, bytes)
}

async function interfaceIndexes(namespace: string): Promise<Map<string, number>> {
  const text = await runProgram('ip', ['-n', namespace, '-j', 'link', 'show'])
  const links = JSON.parse(text) as { ifname: string; ifindex: number }[]
  return new Map(links.map(({ ifname, ifindex }) => [ifname, ifindex]))
}

function panelPins(topology: string, panel: string): string {
  return join(labPaths(topology).pins, panel)
}

// struct panel_state and struct panel_counter of native/bpf/panel_abi.h.
const STATE_KEY = new Uint8Array(4)
const STATE_PORT = 0
const STATE_ACTIVE_UP = 4
const STATE_ACTIVE_DOWN = 8
const STATE_LEG_COUNT = 12
const STATE_LEGS = 16
const STATE_BYTES = 48
const NO_LEG = 255
const COUNTER_BYTES = 24
