/**
 * Whether no EID of this site is on the move or watched: then the programs may re-aggregate TCP
 * before they ask whose it is, because nothing depends on a packet's sender (`LISP_NODE_SETTLED`).
 *
 * The flag is taken back before the first entry that contradicts it is written, and set again after
 * the last one is gone. An earlier daemon's entries count as soon as they are restored; until then the
 * flag is off.
 */
import type { DatapathOperation } from '../control/datapath-operation.js'
import type { EidPrefix } from '../lisp/eid.js'
import { eidPrefixKey, keyText } from './eid-keys.js'

export interface SettledFlag {
  /** What is written beside the flag has changed. */
  rewrite(): void
  /** What was restored: from now on the flag may be on. `prefixes` are on the move or watched. */
  begin(prefixes: readonly EidPrefix[]): void
  /** Carries out `write`, an operation on a local EID, with the flag right before and after. */
  around(operation: LocalEidOperation, write: () => void): void
}

type LocalEidOperation = Extract<
  DatapathOperation,
  { readonly kind: 'put-local-eid' | 'delete-local-eid' }
>

/** `write` puts the flag into the node's map; it is called only when it changes. */
export function createSettledFlag(write: (settled: boolean) => void): SettledFlag {
  const unsettled = new Set<string>()
  let begun = false
  let settled = false
  const update = (): void => {
    const now = begun && unsettled.size === 0
    if (now === settled) return
    settled = now
    write(now)
  }
  return {
    rewrite: () => write(settled),
    begin(prefixes) {
      for (const prefix of prefixes) unsettled.add(keyText(eidPrefixKey(prefix)))
      begun = true
      update()
    },
    around(operation, perform) {
      const key = keyText(eidPrefixKey(operation.eidPrefix))
      if (isUnsettled(operation)) {
        unsettled.add(key)
        update()
        perform()
        return
      }
      perform()
      unsettled.delete(key)
      update()
    },
  }
}

function isUnsettled(operation: LocalEidOperation): boolean {
  if (operation.kind === 'delete-local-eid' || operation.dynamicPrefix) return false
  return operation.state !== 'local' || operation.reportSenders || operation.move !== undefined
}
