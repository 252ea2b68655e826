/**
 * The validators of all requests, by `requestPart` (application.ts). Their code is compiled from
 * the routes' schemas by scripts/compile-validators.ts at each build and exists in dist only.
 */
import type { Validate } from '../config/json-schema.js'

declare const requestValidators: Readonly<Record<string, Validate>>
export default requestValidators
