export { Child, type ChildOptions, childOptions } from './child.js'
export { type AnyDatabase, connect, freshDatabase, requiredUrl, type TestDatabase } from './database.js'
export { type UntilOptions, until } from './until.js'
