/**
 * The validators of our files. Their code is compiled from the schemas by
 * scripts/compile-validators.ts at each build and exists in dist only: it can not be stale.
 */
import type { Validate } from './json-schema.js'

export declare const validateConfig: Validate
export declare const validateKeyFile: Validate
export declare const validateTopology: Validate
