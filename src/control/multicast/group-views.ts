/** Multicast groups for people and the API: plain values, addresses as canonical text. */

export interface GroupView {
  /** `(10.1.0.5,232.1.1.1)`, `[7](*,ff3e::1)`. */
  readonly group: string
  readonly instanceId: number
  readonly side: 'xtr' | 'relay' | 'map-server'
  /** Listeners on our segments, as far as they are tracked. */
  readonly listeners: number
  readonly interfaces: readonly string[]
  /** Whether we have registered the group. */
  readonly registered: boolean
  /** Whether we follow its replication list. */
  readonly followed: boolean
  /** RLOCs that we make copies to; of a Map-Server, all receivers. */
  readonly copies: readonly string[]
  /** 0 of a site, else of the relay. */
  readonly level: number
  /** Entries of the list, before any is left out; of a Map-Server, receiver sites. */
  readonly members: number
}
