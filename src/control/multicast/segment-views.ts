/** Listeners and queriers of our segments for people and the API: plain values, addresses as text. */

export interface ListenerView {
  readonly interfaceName: string
  readonly instanceId: number
  readonly group: string
  /** include: only `sources` are wanted. exclude: all but `excluded`. */
  readonly mode: 'include' | 'exclude'
  /** Wanted by somebody. */
  readonly sources: readonly string[]
  readonly excluded: readonly string[]
  /** The first of those that could be told apart. */
  readonly hosts: readonly string[]
  readonly hostCount: number
  /** Of IGMP 1–3, of MLD 1–2: the oldest that a host has spoken lately. */
  readonly version: number
  /** Unless somebody reports again. */
  readonly expiresInMs: number
}

export interface SegmentView {
  readonly interfaceName: string
  readonly family: 4 | 6
  /** Ours; undefined: we only listen. */
  readonly address: string | undefined
  readonly querier: string | undefined
  readonly isQuerier: boolean
  readonly version: number
  readonly queryIntervalMs: number
  readonly robustness: number
  readonly groups: number
  readonly hosts: number
  /** Records that were not taken, for a limit. */
  readonly refused: number
  /** Messages that were not used, for what they are. */
  readonly ignored: number
}
