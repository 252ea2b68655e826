/**
 * Typed view of the native addon; the only file that loads it.
 *
 * The addon has no policy: it loads and attaches BPF objects, moves opaque bytes in and out of maps,
 * delivers ring buffer records, keeps held packets, and sends and receives UDP in batches. Which
 * bytes mean what is known to abi.generated.ts and its users. Failures throw an Error with `code`
 * (an errno name such as 'EPERM'), `operation`, and, for a refused program, `verifierLog`. Arguments
 * of a wrong type or size, and closed handles, throw a TypeError or RangeError.
 *
 * Open event readers, holds and sockets keep the process alive until closed; at process or worker
 * exit they close themselves.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** An opaque reference to something the addon keeps; becomes invalid when closed. */
export interface NativeHandle {
  readonly native: unique symbol
}

export interface NativeAddon {
  /** LISP_ABI_VERSION that the embedded objects were compiled with. */
  abiVersion(): number

  /**
   * Load an embedded object ('datapath' or 'panel'). Every map is pinned as <pinDirectory>/<map>; a map
   * already pinned there with the same shape is reused, so entries survive a restart; one of another
   * shape is unpinned and made anew, and all are when another ABI version made them. `pinDirectory` is made, its bpffs must be mounted.
   * `maximumEntries` resizes maps before creation; `rodata` sets `const volatile` globals (little-endian bytes by name).
   * `bytes`: load this object instead, under that name (for tests).
   */
  openObject(
    name: string,
    options: {
      bytes?: Uint8Array
      pinDirectory: string
      maximumEntries?: Record<string, number>
      rodata?: Record<string, number>
    },
  ): NativeHandle
  /** Attach by tcx; the link is pinned as <pinDirectory>/link_<program>_<interfaceIndex>. An existing link gets the new program in one step. */
  attach(
    object: NativeHandle,
    program: string,
    interfaceIndex: number,
    hook: 'ingress' | 'egress',
  ): 'created' | 'replaced'
  /** Nothing attached: nothing to do. */
  detach(object: NativeHandle, program: string, interfaceIndex: number): void
  /** Close descriptors, also the event readers of this object; pins stay. */
  closeObject(object: NativeHandle): void
  /** Run a program once on a packet (Ethernet frame): for tests. `gsoSize` makes it a super-packet. */
  testRun(
    object: NativeHandle,
    program: string,
    packet: Uint8Array,
    interfaceIndex: number,
    options?: { gsoSize?: number },
  ): { verdict: number; packet: Uint8Array }

  updateMap(object: NativeHandle, map: string, key: Uint8Array, value: Uint8Array): void
  /** Concatenated keys and values, `count` of each; uses the kernel's batch call where it exists. */
  updateMapBatch(
    object: NativeHandle,
    map: string,
    keys: Uint8Array,
    values: Uint8Array,
    count: number,
  ): void
  /** False when there was no such key. */
  deleteMap(object: NativeHandle, map: string, key: Uint8Array): boolean
  /** Undefined when absent; a per-CPU map gives the values of all CPUs one after another. */
  lookupMap(object: NativeHandle, map: string, key: Uint8Array): Uint8Array | undefined
  /** All entries, keys and values concatenated. */
  readMap(
    object: NativeHandle,
    map: string,
  ): { count: number; keys: Uint8Array; values: Uint8Array }

  /** Records of the ring buffer `map`, concatenated, each of `recordBytes`; one callback per batch, the buffer is reused. */
  startEvents(
    object: NativeHandle,
    map: string,
    recordBytes: number,
    onBatch: (records: Uint8Array, count: number) => void,
  ): NativeHandle
  closeEvents(events: NativeHandle): void

  /**
   * The hold: a persistent TAP (IFF_VNET_HDR, all offloads, txqueuelen 20000) read by a thread of its own.
   * Packets are queued by {purpose, lisp_eid_key of the inner destination} within the limits; drop-newest, counted.
   * The object must have a map 'hold_gates'. Frames of purpose 'fragment' come back at once in two halves.
   */
  openHold(
    options: {
      object: NativeHandle
      interfaceName: string
      packetsPerEid: number
      bytesPerEid: number
      bytesTotal: number
      /** Longest wait in ms by purpose number (index = enum lisp_hold_purpose). */
      longestMs: readonly number[]
      /** How far back a queue of nothing but copies reaches. */
      windowMs: number
      /** Before the first redirected packet, when nobody says when the endpoint stopped. */
      provisionalGuardMs: number
      maximumEids: number
    },
    onEvents: (events: readonly HoldEvent[]) => void,
  ): { hold: NativeHandle; interfaceIndex: number }
  /**
   * In the hold's thread: write back, in order, everything held for `key` and what comes meanwhile, until
   * the gate of the key (map 'hold_gates', struct lisp_hold_gate) says that nothing is ahead any more;
   * then, when `flip` is given, put `flip.value` into the map. Ends with a 'released' event, also when
   * nothing was held. A flip that fails raises 'dropped' with 0 packets and reason 'flip-failed' before it.
   * EAGAIN when 65,536 commands wait. `cut` (enum hold_cut, default unknown): which copies of a live move
   * were seen at the source and are dropped.
   */
  releaseHold(
    hold: NativeHandle,
    purpose: number,
    key: Uint8Array,
    flip: { map: string; key: Uint8Array; value: Uint8Array } | undefined,
    cut?: number,
  ): void
  /** The endpoint stopped at the source: copies held now are not given up for their age any more. */
  markHold(hold: NativeHandle, purpose: number, key: Uint8Array): void
  dropHold(hold: NativeHandle, purpose: number, key: Uint8Array, reason: string): void
  holdStatistics(hold: NativeHandle): {
    packets: number
    bytes: number
    eids: number
    heldTotal: number
    releasedTotal: number
    /**
     * Releases that ended while packets came faster than they could leave, or with another key at the
     * same gate: packets around the flip may have been overtaken.
     */
    unsettledTotal: number
    /** By HoldDropReason, 'hold-eids', 'malformed', 'write-failed', 'lost', and the reasons given to dropHold. */
    dropped: Record<string, number>
    /** Events that nobody fetched in time (beyond 65,536). */
    eventsLost: number
  }
  /** Write one Ethernet frame out of `interfaceIndex` (AF_PACKET): gratuitous ARP, unsolicited NA, RARP. */
  sendFrame(interfaceIndex: number, frame: Uint8Array): void
  /**
   * Frames that arrive on `interfaceIndex` and pass `filter` (classic BPF, struct sock_filter, 1-256
   * instructions), before a bridge, routing or a program takes them; all multicast is let in. At most
   * 64 in one callback, none longer than 9,216 bytes. EINVAL for a filter that the kernel refuses.
   * With `etherType` only frames of this type, and only those that bridges and programs leave to the host.
   */
  openFrames(
    interfaceIndex: number,
    filter: Uint8Array,
    onFrames: (frames: readonly Uint8Array[]) => void,
    etherType?: number,
  ): NativeHandle
  frameStatistics(frames: NativeHandle): { truncated: number; droppedByKernel: number }
  closeFrames(frames: NativeHandle): void
  /**
   * Stop the thread; what is still held is lost. `remove` also deletes the device; otherwise it stays,
   * with its index and programs, but while no process has it open the kernel drops what is sent to it.
   */
  closeHold(hold: NativeHandle, remove: boolean): void

  /** A UDP socket bound to `address` (4 or 16 bytes) and `port`; zero-checksum datagrams are refused in the kernel. */
  openUdp(
    options: { address: Uint8Array; port: number; receiveBufferBytes: number; reusePort: boolean },
    onDatagrams: (datagrams: readonly NativeDatagram[]) => void,
  ): NativeHandle
  /** One sendmmsg of at most 1024; returns how many the kernel took, throws when it refused the first. */
  sendUdp(
    socket: NativeHandle,
    datagrams: readonly { address: Uint8Array; port: number; bytes: Uint8Array }[],
  ): number
  closeUdp(socket: NativeHandle): void
  /** `droppedByKernel`: receive buffer full, or UDP checksum zero. */
  udpStatistics(socket: NativeHandle): { truncated: number; droppedByKernel: number }

  hmac(hash: 'sha1' | 'sha256', key: Uint8Array, data: Uint8Array): Uint8Array
}

export type HoldEvent =
  /** First packet of a queue; `head` is the inner packet's first bytes from its IP header (up to 128). */
  | {
      readonly kind: 'held'
      readonly purpose: number
      readonly key: Uint8Array
      readonly head: Uint8Array
    }
  | {
      readonly kind: 'released'
      readonly purpose: number
      readonly key: Uint8Array
      readonly packets: number
      readonly heldMs: number
    }
  | {
      readonly kind: 'dropped'
      readonly purpose: number
      readonly key: Uint8Array
      readonly packets: number
      readonly reason: string
    }

export interface NativeDatagram {
  readonly address: Uint8Array
  readonly port: number
  /** A copy or a view valid until the callback returns; whoever keeps it copies it. */
  readonly bytes: Uint8Array
}

const ADDON_PATH = 'build/Release/godwit.node'

/**
 * Load the addon built for this checkout. Throws with the remedy when it is missing, or cannot be
 * loaded (libbpf absent). Loading twice gives the same module.
 */
export function loadNativeAddon(): NativeAddon {
  const path = join(packageRoot(), ADDON_PATH)
  if (!existsSync(path)) throw new Error(`${path} is missing: run 'npm run build'`)
  try {
    return createRequire(import.meta.url)(path) as NativeAddon
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new Error(
      `cannot load ${path} (${reason}): run 'npm run build'; it needs libbpf (apt-get install libbpf1)`,
      { cause },
    )
  }
}

/** The nearest folder above this file with a package.json: from dist/ as well as from src/. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('no package.json above the native addon loader')
    folder = parent
  }
  return folder
}
