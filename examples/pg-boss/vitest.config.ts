export { integrationTests as default } from '../../testing/base.js'
