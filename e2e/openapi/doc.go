// Package openapi holds calls of an HTTP API, and their answers, against the
// API's OpenAPI 3.1 document.
//
// Bodies and parameters are judged by JSON Schema, which OpenAPI 3.1's schemas
// are; what stands around those is little enough to be written here. The document
// itself is judged by openapi-3.1.json, the OpenAPI Initiative's schema
// (spec.openapis.org/oas/3.1/schema/2022-10-07, Apache-2.0).
package openapi
