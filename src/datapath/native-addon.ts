/**
 * Typed view of the native addon; the only file that loads it.
 *
 * The addon has no policy: it loads and attaches BPF objects, moves opaque bytes in and out of maps,
 * delivers ring buffer records, keeps held packets, and sends and receives UDP in batches. Which
 * bytes mean what is known to abi.generated.ts and its users. Failures throw an Error with `code`
 * (an errno name such as 'EPERM'), `operation`, and, for a refused program, `verifierLog`.
 */

/** An opaque reference to something the addon keeps; becomes invalid when closed. */
export interface NativeHandle {
  readonly native: unique symbol
}

export interface NativeAddon {
  /** LISP_ABI_VERSION that the embedded objects were compiled with. */
  abiVersion(): number

  /**
   * Load an embedded object ('datapath' or 'panel'). Every map is pinned as <pinDirectory>/<map>; a map
   * already pinned there with the same shape is reused, so entries survive a restart. The bpffs must be mounted.
   * `maximumEntries` resizes maps before creation; `rodata` sets `const volatile` globals (little-endian bytes by name).
   */
  openObject(name: 'datapath' | 'panel', options: {
    pinDirectory: string
    maximumEntries?: Record<string, number>
    rodata?: Record<string, number>
  }): NativeHandle
  /** Attach by tcx; the link is pinned as <pinDirectory>/link_<program>_<interfaceIndex>. An existing link gets the new program in one step. */
  attach(object: NativeHandle, program: string, interfaceIndex: number, hook: 'ingress' | 'egress'): 'created' | 'replaced'
  detach(object: NativeHandle, program: string, interfaceIndex: number): void
  /** Close descriptors; pins stay. */
  closeObject(object: NativeHandle): void
  /** Run a program once on a packet (Ethernet frame): for tests. */
  testRun(object: NativeHandle, program: string, packet: Uint8Array, interfaceIndex: number): { verdict: number; packet: Uint8Array }

  updateMap(object: NativeHandle, map: string, key: Uint8Array, value: Uint8Array): void
  /** Concatenated keys and values, `count` of each; uses the kernel's batch call where it exists. */
  updateMapBatch(object: NativeHandle, map: string, keys: Uint8Array, values: Uint8Array, count: number): void
  /** False when there was no such key. */
  deleteMap(object: NativeHandle, map: string, key: Uint8Array): boolean
  /** Undefined when absent; a per-CPU map gives the values of all CPUs one after another. */
  lookupMap(object: NativeHandle, map: string, key: Uint8Array): Uint8Array | undefined
  /** All entries, keys and values concatenated. */
  readMap(object: NativeHandle, map: string): { count: number; keys: Uint8Array; values: Uint8Array }

  /** Records of the ring buffer `map`, concatenated, each of `recordBytes`; one callback per batch, the buffer is reused. */
  startEvents(object: NativeHandle, map: string, recordBytes: number, onBatch: (records: Uint8Array, count: number) => void): NativeHandle

  /**
   * The hold: a persistent TAP (IFF_VNET_HDR, all offloads, txqueuelen 20000) read by a thread of its own.
   * Packets are queued by {purpose, lisp_eid_key of the inner destination} within the limits; drop-newest, counted.
   */
  openHold(options: {
    object: NativeHandle
    interfaceName: string
    packetsPerEid: number
    bytesPerEid: number
    bytesTotal: number
    /** Longest wait in ms by purpose number (index = enum lisp_hold_purpose). */
    longestMs: readonly number[]
    maximumEids: number
  }, onEvents: (events: readonly HoldEvent[]) => void): { hold: NativeHandle; interfaceIndex: number }
  /**
   * In the hold's thread: write back, in order, everything held for `key`; then, when `flip` is given,
   * put `flip.value` into the map; then write back once more what came meanwhile. Ends with a 'released' event.
   */
  releaseHold(hold: NativeHandle, purpose: number, key: Uint8Array, flip: { map: string; key: Uint8Array; value: Uint8Array } | undefined): void
  dropHold(hold: NativeHandle, purpose: number, key: Uint8Array, reason: string): void
  holdStatistics(hold: NativeHandle): { packets: number; bytes: number; eids: number; heldTotal: number; releasedTotal: number; dropped: Record<string, number> }
  /** Write one Ethernet frame out of `interfaceIndex` (AF_PACKET): gratuitous ARP, unsolicited NA, RARP. */
  sendFrame(interfaceIndex: number, frame: Uint8Array): void
  /** Stop the thread. `remove` also deletes the device; otherwise it stays and keeps queueing. */
  closeHold(hold: NativeHandle, remove: boolean): void

  /** A UDP socket bound to `address` (4 or 16 bytes) and `port`; zero-checksum datagrams are refused in the kernel. */
  openUdp(options: { address: Uint8Array; port: number; receiveBufferBytes: number; reusePort: boolean },
    onDatagrams: (datagrams: readonly NativeDatagram[]) => void): NativeHandle
  /** One sendmmsg; returns how many the kernel took. */
  sendUdp(socket: NativeHandle, datagrams: readonly { address: Uint8Array; port: number; bytes: Uint8Array }[]): number
  closeUdp(socket: NativeHandle): void

  hmac(hash: 'sha1' | 'sha256', key: Uint8Array, data: Uint8Array): Uint8Array
}

export type HoldEvent =
  /** First packet of a queue; `head` is the inner packet's first bytes from its IP header (up to 128). */
  | { readonly kind: 'held'; readonly purpose: number; readonly key: Uint8Array; readonly head: Uint8Array }
  | { readonly kind: 'released'; readonly purpose: number; readonly key: Uint8Array; readonly packets: number; readonly heldMs: number }
  | { readonly kind: 'dropped'; readonly purpose: number; readonly key: Uint8Array; readonly packets: number; readonly reason: string }

export interface NativeDatagram {
  readonly address: Uint8Array
  readonly port: number
  /** A copy or a view valid until the callback returns; whoever keeps it copies it. */
  readonly bytes: Uint8Array
}
