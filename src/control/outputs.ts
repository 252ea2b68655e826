/**
 * The two outputs that nearly every file of the control plane makes: an operation of the datapath, and an
 * event. Appends to the list it is given and decides nothing.
 */

import type { DatapathOperation } from './datapath-operation.js'
import type { Event } from './event.js'
import type { Output } from './input-output.js'

export function push(outputs: Output[], operation: DatapathOperation): void {
  outputs.push({ kind: 'datapath', operation })
}

export function report(
  outputs: Output[],
  name: Event['name'],
  severity: Event['severity'],
  fields: { readonly [field: string]: string | number | boolean | readonly string[] | undefined },
): void {
  outputs.push({ kind: 'event', event: { name, severity, ...fields } as Event })
}
